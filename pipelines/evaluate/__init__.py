"""Evaluation: exported models on labelled clicks, by every label and by slice, side by side."""
