"""Scheduled retraining as a TFX pipeline."""
