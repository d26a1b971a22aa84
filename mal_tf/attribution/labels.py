"""From credits to labels: one per mechanism, and the CAT label of all of them."""

from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import LAST, PLACES, Mechanism

#: More mechanisms would make more than 65,536 CAT classes.
MAX_MECHANISMS = 16


class ClickCredit:
    """One mechanism's credit per click, added up block by block of journeys.

    Added one after the other in the order of the journeys, so that the sums do not depend on how blocks are cut.

    Attributes:
        raw: float64 [C], Σ credit over conversions; above 1 where a click led to several.
        valued: float64 [C], Σ credit · value of the conversion.
    """

    def __init__(self, clicks: int):
        self.raw, self.valued = np.zeros(clicks), np.zeros(clicks)

    def add(self, journeys: Journeys, credit: np.ndarray) -> None:
        """Adds converting journeys' credits: float64 [T]."""
        np.add.at(self.raw, journeys.click, credit)
        np.add.at(self.valued, journeys.click, credit * journeys.value[journeys.owner])

    @property
    def label(self) -> np.ndarray:
        """float32 [C], the raw sum capped at 1."""
        return np.minimum(self.raw, 1.0).astype(np.float32)


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


def implied(mechanisms: Mapping[str, Mechanism], windows: Mapping[str, float]) -> list[tuple[str, str]]:
    """Pairs (a, b) of mechanisms such that no click has a label of a above 0 and one of b of 0.

    Args:
        mechanisms: by name, with the same rules but for their windows.
        windows: of each, by name.
    """
    return [(a, b) for a in mechanisms for b in mechanisms if a != b and _implies(a, b, mechanisms, windows)]


def _implies(a: str, b: str, mechanisms: Mapping[str, Mechanism], windows: Mapping[str, float]) -> bool:
    if windows[a] > windows[b]:
        return False
    places = mechanisms[a].may_credit
    if windows[a] < windows[b] and places != {LAST}:
        places = frozenset(PLACES)  # The longer journey ends with the same click, and may begin with an earlier one.
    return places <= mechanisms[b].always_credits


def path_length(longest: np.ndarray, journeys: Journeys) -> None:
    """Raises `longest`, int64 [C], to the touches of the longest converting journey each click is part of."""
    np.maximum.at(longest, journeys.click, np.repeat(journeys.lengths, journeys.lengths))
