"""Evaluation of predictions: exact metrics, calibration curves, bootstrap intervals and comparisons of models."""
