"""Calibration: monotone maps from what a model says to the CVR that was seen."""

from typing import Literal

# Here, where a configuration gets it without SciPy: the label job's workers have none.
Method = Literal["isotonic", "platt"]
