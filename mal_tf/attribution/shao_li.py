"""Shao–Li's probabilistic multi-touch attribution.

Source: Shao and Li, "Data-driven multi-touch attribution models", KDD '11.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from mal_tf.attribution.by_type import ByType, DistinctTypes
from mal_tf.attribution.journeys import Journeys

#: Counts of one type (a, a) or pair (a < b): journeys with it that converted, and that did not.
Statistics = dict[tuple[str, str], tuple[int, int]]


class ShaoLi(ByType):
    """Credit by the contribution of touchpoint types alone and in pairs.

    C(i) = p(y|i) + 1/(2(n−1)) Σ_{j≠i} [p(y|i,j) − p(y|i) − p(y|j)], p = N⁺/(N⁺+N⁻), j over the other distinct types of
    the journey, n of them with i; for n = 1, C(i) = p(y|i).

    Args:
        fallback: see `ByType`.
    """

    def __init__(self, fallback: str = "none"):
        super().__init__(fallback)
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

    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """C(i) of each distinct (journey, type). A pair the fit never saw together has no synergy."""
        code, known = types.codes(self._types), len(self._types)
        alone = np.append(self._contribution, 0.0)[code]
        left, right = types.pairs()
        low, high = np.minimum(code[left], code[right]), np.maximum(code[left], code[right])
        key = np.where(low >= 0, low * known + high, -1)
        place = np.searchsorted(self._pairs, key)
        # One entry more than there are pairs: where a key is beyond the last.
        seen = np.append(self._pairs, -2)[place] == key
        synergy = np.where(seen, np.append(self._synergy, 0.0)[place], 0.0)
        others = types.counts[types.journey] - 1
        return alone + np.bincount(left, synergy, code.size) / (2 * np.maximum(others, 1))


def _probability(row: dict) -> float:
    return row["converted"] / (row["converted"] + row["not_converted"])


def _count(journeys: Journeys) -> Counter:
    """Journeys by distinct type (a, a) and by unordered pair of distinct types (a, b), a < b."""
    types = DistinctTypes.of(journeys)
    left, right = types.pairs()
    ordered = types.type[left] <= types.type[right]
    first = np.concatenate([types.type, types.type[left][ordered]])
    second = np.concatenate([types.type, types.type[right][ordered]])
    span = max(types.names.size, 1)
    keys, counts = np.unique(first * span + second, return_counts=True)
    names = types.names
    return Counter(
        {tuple(sorted((names[key // span], names[key % span]))): int(n) for key, n in zip(keys, counts, strict=True)}
    )
