"""Evaluation: exact metrics, vectorised over clicks and users."""
