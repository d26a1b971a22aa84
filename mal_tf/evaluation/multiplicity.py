"""Correction of p-values for multiple comparisons."""

import numpy as np

#: Significance level of adjusted p-values.
LEVEL = 0.05


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusts p-values by Holm's step-down method (1979): max over j ≤ i of min(1, (m − j + 1) · p_(j)), p ascending.

    At level α, the probability of rejecting any true null hypothesis of the family is at most α, however the tests depend on
    each other.

    Args:
        p: float [m], p-values of the family. NaN, where there was no test, is not counted and stays.

    Returns:
        float64 [m], adjusted p-values.
    """
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN come last.
    steps = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1)
    return adjusted


def resamples_needed(comparisons: int) -> int:
    """Smallest number of resamples B whose smallest p-value, 2 / (B + 1), stays below `LEVEL` after adjustment."""
    return round(2 * comparisons / LEVEL)
