"""Shao–Li's probabilistic multi-touch attribution.

Source: Shao and Li, "Data-driven multi-touch attribution models", KDD '11.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from mal_tf.attribution.journeys import Journeys
from mal_tf.attribution.mechanism import DataDrivenMechanism, register

#: Counts of one type (a, a) or pair (a < b): journeys with it that converted, and that did not.
Statistics = dict[tuple[str, str], tuple[int, int]]


@register("shao_li")
class ShaoLi(DataDrivenMechanism):
    """Credit by the contribution of touchpoint types alone and in pairs.

    C(i) = p(y|i) + 1/(2(n−1)) Σ_{j≠i} [p(y|i,j) − p(y|i) − p(y|j)], p = N⁺/(N⁺+N⁻), j over the other distinct types of
    the journey, n of them with i; for n = 1, C(i) = p(y|i). Contributions below zero become 0. A type that comes several
    times shares its contribution among its touches; credits are normalised per journey.

    Args:
        fallback: who gets the credit of a journey without positive contribution: `none` (total 0), `linear` or `last`.
    """

    def __init__(self, fallback: str = "none"):
        if fallback not in ("none", "linear", "last"):
            raise TypeError(f"fallback must be none, linear or last, not {fallback!r}")
        self.fallback = fallback
        self._types: dict[str, int] = {}
        self._contribution = self._pairs = self._synergy = np.zeros(0)

    def statistics(self, converting: Journeys, other: Journeys) -> Statistics:
        """Counts journeys by distinct type and by distinct pair of types."""
        positive, negative = _count(converting), _count(other)
        return {key: (positive[key], negative[key]) for key in positive | negative}

    def merge(self, parts: Iterable[Statistics]) -> Statistics:
        """See base class."""
        positive, negative = Counter(), Counter()
        for part in parts:
            positive.update({key: counts[0] for key, counts in part.items()})
            negative.update({key: counts[1] for key, counts in part.items()})
        return {key: (positive[key], negative[key]) for key in positive | negative}

    def fit(self, statistics: Statistics) -> dict:
        """The counts themselves are the parameters: p follows from them exactly."""
        return {
            "counts": [
                {"types": list(key) if key[0] != key[1] else [key[0]], "converted": plus, "not_converted": minus}
                for key, (plus, minus) in sorted(statistics.items())
            ]
        }

    def load(self, parameters: dict) -> None:
        """See base class."""
        rows = parameters["counts"]
        singles, pairs = ([row for row in rows if len(row["types"]) == n] for n in (1, 2))
        self._types = {row["types"][0]: code for code, row in enumerate(singles)}
        self._contribution = np.array([_probability(row) for row in singles])
        codes = np.array([[self._types[name] for name in row["types"]] for row in pairs], np.int64).reshape(-1, 2)
        first, second = np.sort(codes, axis=1).T
        probability = np.array([_probability(row) for row in pairs])
        self._pairs = first * len(self._types) + second
        self._synergy = probability - self._contribution[first] - self._contribution[second]

    def credit(self, journeys: Journeys) -> np.ndarray:
        """See base class. A type that the fit never saw contributes 0."""
        unseen = len(self._types)  # Each type that the fit never saw gets a code of its own from here on.
        codes = np.array([self._types.get(n, unseen + i) for i, n in enumerate(journeys.touchpoints)], np.int64)
        owner = journeys.owner
        journey, touchpoint, distinct, repeats = _distinct(owner, codes[journeys.touchpoint])
        contribution = self._contributions(journey, touchpoint, len(journeys))
        share = (contribution / repeats)[distinct]
        total = np.bincount(owner, share, len(journeys))
        credit = np.divide(share, total[owner], out=np.zeros_like(share), where=total[owner] > 0)
        return self._fall_back(credit, journeys, total <= 0)

    def _contributions(self, journey: np.ndarray, touchpoint: np.ndarray, journeys: int) -> np.ndarray:
        """max(C(i), 0) of each distinct (journey, type), sorted by both."""
        types = len(self._types)
        alone = np.append(self._contribution, 0.0)[np.minimum(touchpoint, types)]
        left, right = _pairs(journey, journeys)
        low, high = np.minimum(touchpoint[left], touchpoint[right]), np.maximum(touchpoint[left], touchpoint[right])
        key = np.where(high < types, low * types + high, -1)
        place = np.minimum(np.searchsorted(self._pairs, key), max(self._pairs.size - 1, 0))
        # A pair the fit never saw together has p(y|i,j) unknown: no synergy is assumed.
        seen = self._pairs[place] == key if self._pairs.size else np.zeros(key.size, bool)
        synergy = np.where(seen, self._synergy[place] if self._pairs.size else 0.0, 0.0)
        others = np.bincount(journey, minlength=journeys)[journey] - 1
        mutual = np.bincount(left, synergy, touchpoint.size) / (2 * np.maximum(others, 1))
        return np.maximum(alone + mutual, 0.0)

    def _fall_back(self, credit: np.ndarray, journeys: Journeys, empty: np.ndarray) -> np.ndarray:
        touches = empty[journeys.owner]
        if self.fallback == "linear":
            credit[touches] = (1.0 / journeys.lengths[journeys.owner])[touches]
        elif self.fallback == "last":
            last = np.zeros(credit.size, bool)
            last[(journeys.offsets[1:] - 1)[journeys.lengths > 0]] = True
            credit[touches & last] = 1.0
        return credit


def _probability(row: dict) -> float:
    return row["converted"] / (row["converted"] + row["not_converted"])


def _distinct(owner: np.ndarray, touchpoint: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (journey, type) pairs: their journeys, their types, each touch's pair, and touches per pair."""
    span = int(touchpoint.max(initial=-1)) + 2
    keys, inverse, repeats = np.unique(owner * span + touchpoint + 1, return_inverse=True, return_counts=True)
    return keys // span, keys % span - 1, inverse, repeats


def _pairs(journey: np.ndarray, journeys: int) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of different positions within the same journey; `journey` is ascending."""
    counts = np.bincount(journey, minlength=journeys)
    starts = np.cumsum(counts) - counts
    width = counts[journey]
    left = np.repeat(np.arange(journey.size), width)
    offset = np.arange(left.size) - np.repeat(np.cumsum(width) - width, width)
    right = starts[journey[left]] + offset
    different = left != right
    return left[different], right[different]


def _count(journeys: Journeys) -> Counter:
    """Journeys by distinct type (a, a) and by unordered pair of distinct types (a, b), a < b."""
    journey, touchpoint, _, _ = _distinct(journeys.owner, journeys.touchpoint)
    left, right = _pairs(journey, len(journeys))
    ordered = touchpoint[left] <= touchpoint[right]
    first = np.concatenate([touchpoint, touchpoint[left][ordered]])
    second = np.concatenate([touchpoint, touchpoint[right][ordered]])
    span = max(journeys.touchpoints.size, 1)
    keys, counts = np.unique(first * span + second, return_counts=True)
    names = journeys.touchpoints
    return Counter(
        {tuple(sorted((names[key // span], names[key % span]))): int(n) for key, n in zip(keys, counts, strict=True)}
    )
