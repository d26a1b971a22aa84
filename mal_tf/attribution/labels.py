"""From credits to labels: one per mechanism, and the CAT label of all of them."""

from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.journeys import Journeys

#: More mechanisms would make more than 65,536 CAT classes.
MAX_MECHANISMS = 16


def label(journeys: Journeys, credit: np.ndarray, clicks: int) -> np.ndarray:
    """Label of each click: its credit summed over conversions, capped at 1.

    Args:
        journeys: converting journeys.
        credit: float64 [T], one mechanism's credits.
        clicks: C, how many clicks there are.

    Returns:
        float32 [C].
    """
    return np.minimum(np.bincount(journeys.click, credit, clicks), 1.0).astype(np.float32)


def cat_label(labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """CAT label: Σ_i 1[l_i > 0]·2^i over the mechanisms in configured order (MAL, arXiv 2508.15217).

    Args:
        labels: float [C] by mechanism, in order; at most `MAX_MECHANISMS`.

    Returns:
        int64 [C], in [0, 2^N).
    """
    if not 1 <= len(labels) <= MAX_MECHANISMS:
        raise MalTfError(f"the CAT label takes 1 to {MAX_MECHANISMS} mechanisms, found {len(labels)}")
    positive = np.stack([values > 0 for values in labels.values()])
    return (positive * (1 << np.arange(len(labels)))[:, None]).sum(axis=0)


def path_length(journeys: Journeys, clicks: int) -> np.ndarray:
    """Touches of the longest converting journey each click is part of, 0 for none: int64 [clicks]."""
    longest = np.zeros(clicks, np.int64)
    np.maximum.at(longest, journeys.click, np.repeat(journeys.lengths, journeys.lengths))
    return longest
