"""Labels from credits: one label per mechanism, and the CAT label of all mechanisms."""

from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError
from mal_tf.attribution.journeys import JourneyRules, Journeys
from mal_tf.attribution.mechanism import LAST, MIDDLE, POSITIONS, Mechanism

#: Largest number of mechanisms, which allows 65,536 CAT classes.
MAX_MECHANISMS = 16


class ClickCredit:
    """Credit of each click under one mechanism, added up over blocks of journeys.

    Credits are added one by one in the order of the journeys, so that sums do not depend on the size of the blocks.

    Attributes:
        raw: float64 [C], Σ credit over conversions, above 1 if a click led to several.
        valued: float64 [C], Σ credit · value of the conversion.
    """

    def __init__(self, clicks: int):
        self.raw, self.valued = np.zeros(clicks), np.zeros(clicks)

    def add(self, journeys: Journeys, credit: np.ndarray) -> None:
        """Adds the credits of converting journeys, float64 [T]."""
        np.add.at(self.raw, journeys.click, credit)
        np.add.at(self.valued, journeys.click, credit * journeys.value[journeys.owner])

    def first(self, clicks: int) -> "ClickCredit":
        """The credit of the first `clicks` touches, which are the clicks where there are context touches too."""
        credit = ClickCredit(0)
        credit.raw, credit.valued = self.raw[:clicks], self.valued[:clicks]
        return credit

    @property
    def label(self) -> np.ndarray:
        """The raw sum capped at 1, float32 [C]."""
        return np.minimum(self.raw, 1.0).astype(np.float32)


def cat_label(labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """CAT label: Σ_i 1[l_i > 0]·2^i over the mechanisms in configured order (MAL, arXiv 2508.15217).

    Args:
        labels: float [C] by mechanism, in order; at most `MAX_MECHANISMS`.

    Returns:
        int64 [C], in [0, 2^N).
    """
    if not 1 <= len(labels) <= MAX_MECHANISMS:
        raise MalTfError(f"the CAT label supports 1 to {MAX_MECHANISMS} mechanisms, found {len(labels)}")
    positive = np.stack([values > 0 for values in labels.values()])
    return (positive * (1 << np.arange(len(labels)))[:, None]).sum(axis=0)


def implied(mechanisms: Mapping[str, Mechanism], rules: Mapping[str, JourneyRules]) -> list[tuple[str, str]]:
    """Pairs (a, b) of mechanisms such that every click with a label above 0 under a has one above 0 under b.

    Args:
        mechanisms: mechanisms by name.
        rules: eligibility rules of each mechanism, by name, which differ only in their windows.
    """
    return [(a, b) for a in mechanisms for b in mechanisms if a != b and _implies(a, b, mechanisms, rules)]


def _implies(a: str, b: str, mechanisms: Mapping[str, Mechanism], rules: Mapping[str, JourneyRules]) -> bool:
    if rules[a].window > rules[b].window:
        return False
    positions = mechanisms[a].may_credit
    if rules[b].context and not rules[a].context:
        positions = frozenset(POSITIONS)  # In b's journey, context touches may come before and after the click.
    elif rules[a].window < rules[b].window and positions != {LAST}:
        positions = frozenset(POSITIONS)  # The longer journey ends with the same click and may begin earlier.
    elif rules[a].context and not rules[b].context and MIDDLE in positions:
        positions = frozenset(POSITIONS)  # A click between context touches may be the first or last of the clicks.
    return positions <= mechanisms[b].always_credits


def path_length(longest: np.ndarray, journeys: Journeys) -> None:
    """Updates `longest`, int64 [C], the length of the longest converting journey that each click is part of."""
    np.maximum.at(longest, journeys.click, np.repeat(journeys.lengths, journeys.lengths))
