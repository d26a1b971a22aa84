"""Probabilistic multi-touch attribution by Shao and Li.

Source: Shao and Li, "Data-driven multi-touch attribution models", KDD '11.
"""

from collections import Counter

import numpy as np

from mal_tf.attribution.by_type import ByCounts, Counts, DistinctTypes
from mal_tf.attribution.hash_table import HashTable
from mal_tf.attribution.journeys import Journeys


class ShaoLi(ByCounts):
    """Credit by the contribution of touchpoint types, alone and in pairs, to the conversion probability.

    C(i) = p(y|i) + 1/(2(n−1)) Σ_{j≠i} [p(y|i,j) − p(y|i) − p(y|j)], p = N⁺/(N⁺+N⁻), j over the other distinct types of
    the journey, n of them with i; for n = 1, C(i) = p(y|i).

    Args:
        fallback: who gets the credit of a journey without positive contribution: `none`, `linear` or `last`.
    """

    def __init__(self, fallback: str = "none"):
        super().__init__(fallback)
        self.load({"counts": []})

    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by distinct type and by distinct pair of types."""
        types = DistinctTypes.from_journeys(journeys)
        span = max(types.names.size, 1)
        keys, counts = [types.type * (span + 1)], [np.ones(types.type.size, np.int64)]
        for left, right in types.pairs():
            pair, count = np.unique((types.type[left] * span + types.type[right])[left < right], return_counts=True)
            keys.append(pair)
            counts.append(count)
        distinct, index = np.unique(np.concatenate(keys), return_inverse=True)
        # float64 sums of whole numbers below 2^53 are exact.
        total = np.bincount(index, np.concatenate(counts), distinct.size)
        names = types.names
        return Counter(
            {(names[key // span], names[key % span]): int(n) for key, n in zip(distinct, total, strict=True)}
        )

    def fit(self, statistics: Counts) -> dict:
        """Returns the counts as the parameters; the probabilities p follow from them exactly."""
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
        """C(i) of each distinct (journey, type). A pair that the fit never saw in one journey has no synergy."""
        code = types.codes(self._types)
        alone = np.append(self._contribution, 0.0)[code]
        others = np.maximum(types.counts[types.journey] - 1, 1)
        mutual = np.zeros(code.size)
        for left, right in types.pairs():
            low, high = np.minimum(code[left], code[right]), np.maximum(code[left], code[right])
            mutual[left[0] : left[-1] + 1] = np.bincount(left - left[0], self._synergy(self._key(low, high)))
        return alone + mutual / (2 * others)

    def _key(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Key of a pair of codes first < second; with a code of -1 it differs from the key of every pair with a synergy."""
        return (first * len(self._types) + second).view(np.uint64)


def _probability(row: dict) -> float:
    return row["converted"] / (row["converted"] + row["not_converted"])
