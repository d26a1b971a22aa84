"""Mechanisms that give each touchpoint type of a journey a contribution: what they have in common."""

import abc
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from features.arrays import flatten_ranges
from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import DataDrivenMechanism

#: Who gets the credit of a journey without any positive contribution: nobody (total 0), every touch, or the last one.
FALLBACKS = ("none", "linear", "last")

#: Contributions are differences of probabilities; up to this they are rounding errors of 0, not a reason for credit.
NEGLIGIBLE = 1e-12

#: Pairs looked at in one go, so many that they stay in the cache.
PAIRS = 1 << 18


@dataclasses.dataclass(frozen=True)
class DistinctTypes:
    """The D distinct (journey, type) pairs of some journeys, sorted by journey, then name of the type.

    Attributes:
        journey: int64 [D].
        type: int64 [D], code, an index into `names`.
        names: object [K], ascending: what is computed in the order of types does not depend on how a block numbers them.
        touch: int64 [T], the pair of each touch.
        repeats: int64 [D], touches per pair.
        journeys: J.
    """

    journey: np.ndarray
    type: np.ndarray
    names: np.ndarray
    touch: np.ndarray
    repeats: np.ndarray
    journeys: int

    @classmethod
    def of(cls, journeys: Journeys) -> "DistinctTypes":
        """Finds them."""
        order = np.argsort(journeys.touchpoints)
        rank, span = np.argsort(order), max(order.size, 1)
        keys, touch, repeats = np.unique(
            journeys.owner * span + rank[journeys.touchpoint], return_inverse=True, return_counts=True
        )
        return cls(keys // span, keys % span, journeys.touchpoints[order], touch, repeats, len(journeys))

    @property
    def counts(self) -> np.ndarray:
        """int64 [J], distinct types per journey."""
        return np.bincount(self.journey, minlength=self.journeys)

    def codes(self, known: dict[str, int]) -> np.ndarray:
        """int64 [D], each pair's type in another numbering; -1 for types it lacks."""
        return np.array([known.get(name, -1) for name in self.names], np.int64)[self.type]

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ordered pairs of different positions in [0, D) within the same journey, some at a time.

        Yields:
            left: int64 [P], ascending, P ≥ 1; all pairs of a left position come in one go.
            right: int64 [P], ascending for each left.
        """
        start = np.cumsum(self.counts) - self.counts
        width = self.counts[self.journey]
        total, begin = np.cumsum(width), 0
        while begin < width.size:
            spent = total[begin] - width[begin]
            stop = max(int(np.searchsorted(total, spent + PAIRS, side="right")), begin + 1)
            left = np.repeat(np.arange(begin, stop), width[begin:stop])
            right = flatten_ranges(start[self.journey[begin:stop]], width[begin:stop])[1]
            different = left != right
            if different.any():
                yield left[different], right[different]
            begin = stop


class ByType(DataDrivenMechanism):
    """Credit by the contributions of a journey's distinct touchpoint types.

    Contributions up to `NEGLIGIBLE` and below zero become 0. A type that comes several times shares its contribution
    equally among its touches; credits are normalised per journey.

    Args:
        fallback: who gets the credit of a journey without positive contribution: `none` (total 0), `linear` or `last`.
    """

    def __init__(self, fallback: str = "none"):
        if fallback not in FALLBACKS:
            raise ValueError(f"fallback must be none, linear or last, not {fallback!r}")
        self.fallback = fallback

    @abc.abstractmethod
    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """Contribution of each distinct (journey, type): float64 [D], of any sign. Types the fit never saw give 0."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        types = DistinctTypes.of(journeys)
        contribution = self.contributions(types)
        contribution = np.where(contribution > NEGLIGIBLE, contribution, 0.0)
        return normalised((contribution / types.repeats)[types.touch], journeys, self.fallback)


def whole(name: str, value: int, least: int) -> int:
    """The value of a parameter that must be a whole number of at least `least`; ValueError where it is not."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


#: Journeys by what types they have: how many converted, and how many did not.
Counts = dict[tuple[str, ...], tuple[int, int]]


class ByCounts(ByType):
    """Contributions from counts of converting and other journeys."""

    @abc.abstractmethod
    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by tuples of type names."""

    def statistics(self, converting: Journeys, other: Journeys) -> Counts:
        """Both kinds of journeys counted."""
        positive, negative = self.count(converting), self.count(other)
        return {types: (positive[types], negative[types]) for types in positive | negative}

    def merge(self, parts: Iterable[Counts]) -> Counts:
        """See base class."""
        positive: Counter = Counter()
        negative: Counter = Counter()
        for part in parts:
            positive.update({types: counts[0] for types, counts in part.items()})
            negative.update({types: counts[1] for types, counts in part.items()})
        return {types: (positive[types], negative[types]) for types in positive | negative}


def normalised(share: np.ndarray, journeys: Journeys, fallback: str) -> np.ndarray:
    """Shares ≥ 0 of touches divided by their journey's total; where that is 0, what `fallback` says: float64 [T]."""
    owner = journeys.owner
    total = np.bincount(owner, share, len(journeys))
    credit = np.divide(share, total[owner], out=np.zeros_like(share), where=total[owner] > 0)
    empty = (total <= 0)[owner]
    if fallback == "linear":
        credit[empty] = (1.0 / journeys.lengths[owner])[empty]
    elif fallback == "last":
        last = np.zeros(credit.size, bool)
        last[(journeys.offsets[1:] - 1)[journeys.lengths > 0]] = True
        credit[empty & last] = 1.0
    return credit
