"""Many comparisons at once: p-values adjusted so that none is called found by chance more often than it says."""

import numpy as np

#: An adjusted p-value below it counts as a finding.
LEVEL = 0.05


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (1979): max over j ≤ i of min(1, (m − j + 1) · p_(j)), p ascending.

    Of all true null hypotheses of the family, one or more is rejected at level α with probability α at most, however the
    tests depend on each other.

    Args:
        p: float [m], the family's p-values; NaN, where there was no test, is not counted and stays.
    """
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN come last.
    steps = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1)
    return adjusted


def resamples_needed(comparisons: int) -> int:
    """The least number of resamples B whose least p-value, 2 / (B + 1), is below `LEVEL` after adjustment for a family of so
    many comparisons.
    """
    return round(2 * comparisons / LEVEL)
