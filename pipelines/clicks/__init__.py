"""Labelled clicks after the label job: read by its manifest, scored by exported models."""
