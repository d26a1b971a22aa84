"""Calibration of predictions: monotone maps from predicted to observed conversion rates."""

from typing import Literal

# Defined here, because configurations need it on workers of the label job, which have no SciPy.
Method = Literal["isotonic", "platt"]
