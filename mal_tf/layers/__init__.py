"""Layers: the parts the models are made of."""
