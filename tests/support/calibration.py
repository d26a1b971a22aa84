"""Logits to calibrate."""

import numpy as np
from scipy.special import expit


def market(clicks=20_000, seed=0):
    """Logits that are too high and too far apart, and what came of them."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-2, 1.5, clicks)
    return logit, (generator.random(clicks) < expit(0.6 * logit - 0.8 + 0.3 * np.sin(2 * logit))).astype(float)
