"""Shapley values of touchpoint types on conversion rates.

The players of a journey are its distinct types; the worth of a coalition R is the share converted of the journeys whose
set of types is exactly R. Rates, not counts: with the number of conversions within R as its worth, every conversion is a
unanimity game of its own set, whose Shapley value is 1/|R| for each type, so that the total equals the linear rule over
distinct types and gives no new view.

Sources: Shapley, "A value for n-person games", 1953; for attribution, Zhao, Mahboobi and Bagheri, "Shapley value methods
for attribution modeling in online advertising", arXiv 1804.05327.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from features.arrays import flatten_ranges
from mal_tf.attribution.by_type import ByCounts, Counts, DistinctTypes, whole
from mal_tf.attribution.hash_table import HashTable
from mal_tf.attribution.journeys import Journeys

#: Journeys of more distinct types are sampled.
MAX_EXACT = 8

#: Coalitions looked at in one go, so many that they stay in the cache.
CHUNK = 1 << 16


class Shapley(ByCounts):
    """Credit by the Shapley value φ of a journey's distinct touchpoint types.

    φ(i) = Σ_{R ∌ i} |R|! (n−|R|−1)! / n! · [v(R ∪ {i}) − v(R)] over the coalitions R of the journey's n types that the
    fit saw, v(∅) = 0, v(R) = N⁺(R) / (N⁺(R) + N⁻(R)) over the journeys whose set of types is exactly R. A set the fit
    never saw is worth as much as the best of its subsets that it saw, 0 if none: putting types together that nobody
    saw together changes nothing for the best of them. (It does add something to a set that is worth less than one of
    its own subsets.) A type the fit never saw at all is left out and gets 0.

    A journey of more than `MAX_EXACT` types takes the mean over random orders of what each type adds to those before
    it. There, types before it that nobody saw together are worth as much as the best among the shorter beginnings of
    that order that were seen and the single types in it. The orders depend on `seed` and on the number of types alone
    and apply to the types by name: the same set has the same values everywhere.

    Args:
        fallback: see `ByType`.
        permutations: orders sampled, ≥ 1; half of them are the others backwards.
        seed: of the orders, ≥ 0.
    """

    def __init__(self, fallback: str = "none", permutations: int = 200, seed: int = 17):
        super().__init__(fallback)
        self.permutations, self.seed = whole("permutations", permutations, 1), whole("seed", seed, 0)
        self.load({"sets": []})

    def count(self, journeys: Journeys) -> Counter:
        """Counts journeys by their set of distinct types; journeys without touches say nothing and are left out."""
        types = DistinctTypes.of(journeys)
        start, size, first, _, counts = _distinct_sets(_hashes(types.names)[types.type], types.counts)
        offsets, member = flatten_ranges(start[first], size[first])
        names, ends = types.names[types.type[member]].tolist(), offsets.tolist()
        return Counter({tuple(names[a:b]): n for a, b, n in zip(ends[:-1], ends[1:], counts.tolist(), strict=True)})

    def fit(self, statistics: Counts) -> dict:
        """The counts themselves are the parameters: v follows from them exactly."""
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
        # The empty set, whose hash is 0, is worth 0; a set never seen is marked by -1.
        hashes = np.append(_xor(_hashes(names)[codes], np.cumsum(sizes) - sizes), np.uint64(0))
        self._worth = HashTable(hashes, np.append(plus / (plus + minus), 0.0), missing=-1.0)

    def contributions(self, types: DistinctTypes) -> np.ndarray:
        """φ(i) of each distinct (journey, type), computed once per distinct set."""
        known = np.flatnonzero(types.codes(self._types) >= 0)
        hashes = _hashes(types.names)[types.type[known]]
        start, size, first, which, _ = _distinct_sets(hashes, np.bincount(types.journey[known]))
        offsets, member = flatten_ranges(start[first], size[first])
        value = np.zeros(member.size)
        for n in np.unique(size[first]).tolist():
            position = offsets[:-1][size[first] == n, None] + np.arange(n)
            shapley, cost = (self._exact, 2**n) if n <= MAX_EXACT else (self._sampled, n * self.permutations)
            for some in np.array_split(position, -(-len(position) * cost // CHUNK)):
                value[some] = shapley(hashes[member[some]])
        contribution = np.zeros(types.type.size)
        contribution[known] = value[flatten_ranges(offsets[which], size)[1]]
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
            # One order of adding up, whatever m: the same set has the same bits in every block.
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
    """Views of [m, 2^n] values by subset: of those without type i and, in the same order, of the same ones with it."""
    split = values.reshape(len(values), -1, 2, 2**i)
    return split[:, :, 0], split[:, :, 1]


def _hashes(names: Iterable[str]) -> np.ndarray:
    """Stable hashes of types by name, uint64; a set's hash is the XOR of its types'.

    Sets with the same hash are taken for the same: for a million distinct sets the odds of any such pair are 3e-8.
    """
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _distinct_sets(hashes: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
    """Finds the distinct sets among journeys.

    Args:
        hashes: uint64 [D], of the types of each journey in turn.
        size: int64 [J], types per journey; journeys of 0 are left out.

    Returns:
        Of the journeys that have types: where their types start, and how many they are. Of the U distinct sets: one
        such journey of each. Of the journeys again: their set in [0, U). Of the sets again: how many journeys have it.
    """
    size = size[size > 0]
    start = np.cumsum(size) - size
    return start, size, *np.unique(_xor(hashes, start), return_index=True, return_inverse=True, return_counts=True)[1:]


def _xor(hashes: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.bitwise_xor.reduceat(hashes, start) if start.size else np.zeros(0, np.uint64)
