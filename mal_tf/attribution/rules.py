"""Rule-based attribution mechanisms, which need no fit: first, last, linear, position-based and time decay.

First, last and linear are those of MAL (arXiv 2508.15217). The defaults of position-based attribution (40 % each to the first
and last click, 20 % to those between them) and of time decay (a half-life of a week) are those common in web analytics.
"""

import numpy as np

from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import FIRST, LAST, MIDDLE, POSITIONS, Mechanism


class First(Mechanism):
    """All credit to the first eligible click."""

    may_credit = always_credits = frozenset([FIRST])

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        return _one_each(journeys, journeys.offsets[:-1])


class Last(Mechanism):
    """All credit to the last eligible click."""

    may_credit = always_credits = frozenset([LAST])

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        return _one_each(journeys, journeys.offsets[1:] - 1)


class Linear(Mechanism):
    """Equal credit, 1 / length, to every eligible click."""

    always_credits = frozenset(POSITIONS)

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        lengths = journeys.lengths
        return np.repeat(1.0 / np.maximum(lengths, 1), lengths)


class Position(Mechanism):
    """Fixed shares to the first and the last eligible click, the rest evenly to those between them.

    The only click of a journey gets all credit; two clicks share it in the ratio first : last, equally if both are 0.

    Args:
        first: share of the first click, ≥ 0.
        last: share of the last click, ≥ 0; `first + last` ≤ 1.
    """

    def __init__(self, first: float = 0.4, last: float = 0.4):
        if not (first >= 0 and last >= 0 and first + last <= 1):
            raise ValueError(f"first and last must be at least 0 and at most 1 together, not {first} and {last}")
        self.first, self.last = first, last
        shares = {FIRST: first, LAST: last, MIDDLE: 1.0 - first - last}
        self.always_credits = frozenset(place for place, share in shares.items() if share > 0)

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        ends = self.first + self.last
        first_of_two = self.first / ends if ends else 0.5
        lengths = journeys.lengths
        credit = np.repeat((1.0 - ends) / np.maximum(lengths - 2, 1), lengths)
        filled, two = lengths > 0, lengths == 2
        credit[(journeys.offsets[1:] - 1)[filled]] = np.where(two, 1.0 - first_of_two, self.last)[filled]
        credit[journeys.offsets[:-1][filled]] = np.where(two, first_of_two, self.first)[filled]
        credit[journeys.offsets[:-1][lengths == 1]] = 1.0
        return credit


class TimeDecay(Mechanism):
    """Credit ∝ 2^(−age / half-life), where age is the time from the click to the conversion; in total 1 per journey.

    Args:
        half_life_hours: age in hours, > 0, at which a click gets half the credit of one at the time of the conversion.
    """

    always_credits = frozenset([LAST])

    def __init__(self, half_life_hours: float = 168.0):
        if not half_life_hours > 0:
            raise ValueError(f"half_life_hours must be above 0, not {half_life_hours}")
        self.half_life_hours = half_life_hours

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        owner = journeys.owner
        # Weights are relative to the last click, whose weight is 1 however old it is, so that no total underflows.
        youngest = journeys.age[journeys.offsets[1:][owner] - 1]
        weight = np.exp2((youngest - journeys.age) / self.half_life_hours)
        return weight / np.bincount(owner, weight, len(journeys))[owner]


def _one_each(journeys: Journeys, position: np.ndarray) -> np.ndarray:
    credit = np.zeros(journeys.click.size)
    credit[position[journeys.lengths > 0]] = 1.0
    return credit
