"""Stages from the label files to an exported model: choice of auxiliaries, training, calibration and export."""
