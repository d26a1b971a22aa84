"""Calibration: monotone maps from what a model says to the CVR that was seen."""
