"""Evaluation of exported models, side by side, on labelled clicks, under every label and by slice."""
