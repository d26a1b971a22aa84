"""Grids: the same comparison of models on many simulated markets, and the gain against the growth of the positives."""
