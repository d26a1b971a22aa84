"""Base classes of mechanisms that compute a contribution of each distinct touchpoint type of a journey."""

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

#: Contributions are differences of probabilities. Up to this size they are rounding errors and set to 0.
NEGLIGIBLE = 1e-12

#: Pairs of types that are processed at a time, chosen so that they fit into the CPU cache.
PAIRS = 1 << 18


@dataclasses.dataclass(frozen=True)
class DistinctTypes:
    """The D distinct (journey, type) pairs of J journeys, sorted by journey, then by name of the type.

    Attributes:
        journey: int64 [D], journey of each pair.
        type: int64 [D], type of each pair, an index into `names`.
        names: object [K], sorted, so that computations in the order of types do not depend on the codes of a block.
        touch: int64 [T], pair of each touch.
        repeats: int64 [D], number of touches of each pair.
        journeys: number of journeys, J.
    """

    journey: np.ndarray
    type: np.ndarray
    names: np.ndarray
    touch: np.ndarray
    repeats: np.ndarray
    journeys: int

    @classmethod
    def from_journeys(cls, journeys: Journeys) -> "DistinctTypes":
        """Finds the distinct pairs of some journeys."""
        order = np.argsort(journeys.touchpoints)
        rank, span = np.argsort(order), max(order.size, 1)
        keys, touch, repeats = np.unique(
            journeys.owner * span + rank[journeys.touchpoint], return_inverse=True, return_counts=True
        )
        return cls(keys // span, keys % span, journeys.touchpoints[order], touch, repeats, len(journeys))

    @property
    def counts(self) -> np.ndarray:
        """Number of distinct types of each journey, int64 [J]."""
        return np.bincount(self.journey, minlength=self.journeys)

    def codes(self, code_by_name: dict[str, int]) -> np.ndarray:
        """Code of each pair's type in another numbering, int64 [D]; -1 for types that it lacks."""
        return np.array([code_by_name.get(name, -1) for name in self.names], np.int64)[self.type]

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields all ordered pairs of different positions in [0, D) within the same journey, in blocks.

        Yields:
            left: int64 [P], ascending, P ≥ 1; all pairs of a left position are in one block.
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

    Contributions up to `NEGLIGIBLE`, and negative ones, become 0. The contribution of a type with several touches is split
    equally among them; credits are normalised per journey.

    Args:
        fallback: who gets the credit of a journey without positive contribution: `none` (total 0), `linear` or `last`.
    """

    def __init__(self, fallback: str = "none"):
        if fallback not in FALLBACKS:
            raise ValueError(f"fallback must be none, linear or last, not {fallback!r}")
        self.fallback = fallback

    @abc.abstractmethod
    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """Contribution of each distinct (journey, type): float64 [D], of any sign; 0 for types that the fit never saw."""

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class."""
        types = DistinctTypes.from_journeys(journeys)
        contribution = self.contributions(types)
        contribution = np.where(contribution > NEGLIGIBLE, contribution, 0.0)
        return normalised((contribution / types.repeats)[types.touch], journeys, self.fallback)


def checked_integer(name: str, value: int, minimum: int) -> int:
    """Returns the value of an integer parameter; raises ValueError if it is no integer or below `minimum`."""
    if not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, not {value!r}")
    return value


#: Numbers of converting and other journeys by their tuple of types.
Counts = dict[tuple[str, ...], tuple[int, int]]


class ByCounts(ByType):
    """Base class of mechanisms whose contributions follow from counts of converting and other journeys."""

    @abc.abstractmethod
    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by tuples of type names."""

    def statistics(self, converting: Journeys, other: Journeys) -> Counts:
        """Counts converting and other journeys."""
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
    """Divides shares ≥ 0 of touches by the total of their journey; journeys of total 0 get the `fallback`: float64 [T]."""
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
