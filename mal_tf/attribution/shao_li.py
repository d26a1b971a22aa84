"""Shao–Li's probabilistic multi-touch attribution.

Source: Shao and Li, "Data-driven multi-touch attribution models", KDD '11.
"""

from collections import Counter

import numpy as np

from mal_tf.attribution.by_type import ByCounts, Counts, DistinctTypes
from mal_tf.attribution.hash_table import HashTable
from mal_tf.attribution.journeys import Journeys


class ShaoLi(ByCounts):
    """Credit by the contribution of touchpoint types alone and in pairs.

    C(i) = p(y|i) + 1/(2(n−1)) Σ_{j≠i} [p(y|i,j) − p(y|i) − p(y|j)], p = N⁺/(N⁺+N⁻), j over the other distinct types of
    the journey, n of them with i; for n = 1, C(i) = p(y|i).

    Args:
        fallback: see `ByType`.
    """

    def __init__(self, fallback: str = "none"):
        super().__init__(fallback)
        self.load({"counts": []})

    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by distinct type and by distinct pair of types."""
        types = DistinctTypes.of(journeys)
        span = max(types.names.size, 1)
        keys, counts = [types.type * (span + 1)], [np.ones(types.type.size, np.int64)]
        for left, right in types.pairs():
            found = np.unique((types.type[left] * span + types.type[right])[left < right], return_counts=True)
            keys.append(found[0])
            counts.append(found[1])
        distinct, which = np.unique(np.concatenate(keys), return_inverse=True)
        # Exact: float64 adds up whole numbers below 2^53.
        total = np.bincount(which, np.concatenate(counts), distinct.size)
        names = types.names
        return Counter(
            {(names[key // span], names[key % span]): int(n) for key, n in zip(distinct, total, strict=True)}
        )

    def fit(self, statistics: Counts) -> dict:
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
        synergy = probability - self._contribution[first] - self._contribution[second]
        self._synergy = HashTable(self._key(first, second), synergy, missing=0.0)

    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """C(i) of each distinct (journey, type). A pair the fit never saw together has no synergy."""
        code = types.codes(self._types)
        alone = np.append(self._contribution, 0.0)[code]
        others = np.maximum(types.counts[types.journey] - 1, 1)
        mutual = np.zeros(code.size)
        for left, right in types.pairs():
            low, high = np.minimum(code[left], code[right]), np.maximum(code[left], code[right])
            mutual[left[0] : left[-1] + 1] = np.bincount(left - left[0], self._synergy(self._key(low, high)))
        return alone + mutual / (2 * others)

    def _key(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """A pair as one number, by codes first < second; with a code of -1 it is none of a pair that has a synergy."""
        return (first * len(self._types) + second).view(np.uint64)


def _probability(row: dict) -> float:
    return row["converted"] / (row["converted"] + row["not_converted"])
