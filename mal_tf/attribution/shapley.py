"""Attribution by Shapley values of touchpoint types, with conversion rates as the worth of a coalition.

The players of a journey are its distinct types. The worth of a coalition R is the conversion rate of the journeys whose set
of types is exactly R. Rates are used instead of counts, because with the number of conversions within R as its worth every
conversion is a unanimity game of its own set, whose Shapley value is 1/|R| for each type: the total would equal the linear
rule over distinct types.

Sources: Shapley, "A value for n-person games", 1953; for attribution, Zhao, Mahboobi and Bagheri, "Shapley value methods
for attribution modeling in online advertising", arXiv 1804.05327.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from features.arrays import flatten_ranges
from mal_tf.attribution.by_type import ByCounts, Counts, DistinctTypes, checked_integer
from mal_tf.attribution.hash_table import HashTable
from mal_tf.attribution.journeys import Journeys

#: Most distinct types of a journey for which values are computed exactly; with more, orders are sampled.
MAX_EXACT = 8

#: Coalitions that are processed at a time, chosen so that they fit into the CPU cache.
CHUNK = 1 << 16


class Shapley(ByCounts):
    """Credit by the Shapley value φ of a journey's distinct touchpoint types.

    φ(i) = Σ_{R ∌ i} |R|! (n−|R|−1)! / n! · [v(R ∪ {i}) − v(R)] over the coalitions R of the journey's n types that the
    fit saw, v(∅) = 0, v(R) = N⁺(R) / (N⁺(R) + N⁻(R)) over the journeys whose set of types is exactly R. A set that the fit
    never saw is worth as much as the best of its subsets that it saw, 0 if there is none, so that combining types that
    never occurred together does not change the worth of the best of them. (It does raise the worth of a set that is worth
    less than one of its own subsets.) A type that the fit never saw is left out and gets 0.

    For a journey of more than `MAX_EXACT` types, φ is the mean over random orders of what each type adds to those before
    it. If the types before it never occurred together, they are worth as much as the best among the shorter prefixes of
    that order that did occur and the single types in it. The orders depend only on `seed` and the number of types, and
    apply to the types sorted by name, so that a set of types has the same values everywhere.

    Args:
        fallback: who gets the credit of a journey without positive contribution: `none`, `linear` or `last`.
        permutations: number of sampled orders, ≥ 1; half of them are the others reversed.
        seed: seed of the orders, ≥ 0.
    """

    def __init__(self, fallback: str = "none", permutations: int = 200, seed: int = 17):
        super().__init__(fallback)
        self.permutations, self.seed = (
            checked_integer("permutations", permutations, 1),
            checked_integer("seed", seed, 0),
        )
        self.load({"sets": []})

    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by their set of distinct types. Journeys without touches are left out."""
        types = DistinctTypes.from_journeys(journeys)
        start, size, first, _, counts = _distinct_sets(_hashes(types.names)[types.type], types.counts)
        offsets, member = flatten_ranges(start[first], size[first])
        names, ends = types.names[types.type[member]].tolist(), offsets.tolist()
        return Counter({tuple(names[a:b]): n for a, b, n in zip(ends[:-1], ends[1:], counts.tolist(), strict=True)})

    def fit(self, statistics: Counts) -> dict:
        """Returns the counts as the parameters; the worths v follow from them exactly."""
        return {
            "sets": [
                {"types": list(types), "converted": plus, "not_converted": minus}
                for types, (plus, minus) in sorted(statistics.items())
            ]
        }

    def load(self, parameters: dict) -> None:
        """See base class."""
        rows = parameters["sets"]
        names = sorted({name for row in rows for name in row["types"]})
        self._types = {name: code for code, name in enumerate(names)}
        codes = np.array([self._types[name] for row in rows for name in row["types"]], np.int64)
        sizes = np.array([len(row["types"]) for row in rows], np.int64)
        plus, minus = (np.array([row[kind] for row in rows], np.int64) for kind in ("converted", "not_converted"))
        # The empty set, whose hash is 0, is worth 0. A set that was never seen is marked by -1.
        hashes = np.append(_xor(_hashes(names)[codes], np.cumsum(sizes) - sizes), np.uint64(0))
        self._worth = HashTable(hashes, np.append(plus / (plus + minus), 0.0), missing=-1.0)

    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """φ(i) of each distinct (journey, type), computed once per distinct set."""
        fitted = np.flatnonzero(types.codes(self._types) >= 0)
        hashes = _hashes(types.names)[types.type[fitted]]
        start, size, first, set_index, _ = _distinct_sets(hashes, np.bincount(types.journey[fitted]))
        offsets, member = flatten_ranges(start[first], size[first])
        value = np.zeros(member.size)
        for n in np.unique(size[first]).tolist():
            position = offsets[:-1][size[first] == n, None] + np.arange(n)
            shapley, cost = (self._exact, 2**n) if n <= MAX_EXACT else (self._sampled, n * self.permutations)
            for chunk in np.array_split(position, -(-len(position) * cost // CHUNK)):
                value[chunk] = shapley(hashes[member[chunk]])
        contribution = np.zeros(types.type.size)
        contribution[fitted] = value[flatten_ranges(offsets[set_index], size)[1]]
        return contribution

    def _exact(self, hashes: np.ndarray) -> np.ndarray:
        """φ of the types of m sets of n types by their hashes, over all 2^n subsets: uint64 [m, n] to float64 [m, n]."""
        n = hashes.shape[1]
        subset, size = np.zeros((len(hashes), 1), np.uint64), np.zeros(1, np.int64)
        for i in range(n):  # subset s holds type i where bit i of s is set
            subset = np.concatenate([subset, subset ^ hashes[:, i, None]], axis=1)
            size = np.concatenate([size, size + 1])
        worth = self._worth(subset)
        best = np.maximum(worth, 0.0)
        for i in range(n):
            without, with_i = _halves(best, i)
            np.maximum(with_i, without, out=with_i)
        worth = np.where(worth >= 0, worth, best)
        weight = np.array([1 / (n * math.comb(n - 1, r)) for r in range(n)])[size[: 2 ** (n - 1)]]
        value = np.empty(hashes.shape)
        for i in range(n):
            without, with_i = _halves(worth, i)
            # The order of summation does not depend on m, so that a set has the same bits in every block.
            value[:, i] = ((with_i - without).reshape(len(hashes), -1) * weight).sum(axis=1)
        return value

    def _sampled(self, hashes: np.ndarray) -> np.ndarray:
        """φ of the types of m sets of n types by their hashes, over sampled orders: uint64 [m, n] to float64 [m, n]."""
        n = hashes.shape[1]
        half = np.tile(np.arange(n), (-(-self.permutations // 2), 1))
        half = np.random.default_rng([self.seed, n]).permuted(half, axis=1)
        orders = np.concatenate([half, half[:, ::-1]])[: self.permutations]
        worth = self._worth(np.bitwise_xor.accumulate(np.take(hashes, orders, axis=1), axis=2))
        best = np.maximum(worth, np.take(self._worth(hashes), orders, axis=1))
        best = np.maximum(np.maximum.accumulate(best, axis=2), 0.0)
        added = np.diff(np.where(worth >= 0, worth, best), prepend=0.0, axis=2)
        back = np.argsort(orders, axis=1) + n * np.arange(len(orders))[:, None]
        return np.take(added.reshape(len(hashes), -1), back, axis=1).sum(axis=1) / len(orders)


def _halves(values: np.ndarray, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of [m, 2^n] values by subset: the subsets without type i, and the same ones with it in the same order."""
    split = values.reshape(len(values), -1, 2, 2**i)
    return split[:, :, 0], split[:, :, 1]


def _hashes(names: Iterable[str]) -> np.ndarray:
    """Stable hashes of type names, uint64. The hash of a set is the XOR of the hashes of its types.

    Sets with equal hashes are treated as equal. Among a million distinct sets, the probability of any collision is 3e-8.
    """
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _distinct_sets(hashes: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
    """Finds the distinct sets among journeys.

    Args:
        hashes: uint64 [D], hashes of the types, grouped by journey.
        size: int64 [J], number of types of each journey; journeys of 0 are left out.

    Returns:
        Five int64 arrays. For each journey with types, the position of its first type and the number of its types; for
        each of the U distinct sets, one journey that has it; for each journey, its set in [0, U); for each set, the
        number of journeys that have it.
    """
    size = size[size > 0]
    start = np.cumsum(size) - size
    return start, size, *np.unique(_xor(hashes, start), return_index=True, return_inverse=True, return_counts=True)[1:]


def _xor(hashes: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.bitwise_xor.reduceat(hashes, start) if start.size else np.zeros(0, np.uint64)
