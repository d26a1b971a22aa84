"""The stages between the label files and an export: choice of auxiliaries, training, calibration, export."""
