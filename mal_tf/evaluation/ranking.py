"""Exact area under the ROC curve for all clicks, for the clicks of each user, and for resamples of the users.

A click with label l > 0 is a positive of weight l, any other a negative of weight 1. Ties count one half.
"""

import dataclasses

import numpy as np
from scipy.sparse import csr_array

from mal_tf.evaluation import exact

#: Positives whose pairs are counted at a time in a resample.
_CHUNK = 16_384


@dataclasses.dataclass(frozen=True)
class PerUser:
    """AUC of every user.

    Attributes:
        clicks: int64 [users], number of clicks of each user.
        auc: float64 [users], NaN for users with only one class.
    """

    clicks: np.ndarray
    auc: np.ndarray


def per_user(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> PerUser:
    """AUC of every user: Σ over positives of w⁺ · (negatives below + half of the ties) / (Σ w⁺ · negatives).

    Args:
        user: int64 [clicks], user codes 0 … U − 1, all of which occur.
        label: float [clicks].
        prediction: float [clicks].
    """
    return Pairs(user, label, ranks(prediction)).auc()


def ranks(prediction: np.ndarray) -> np.ndarray:
    """Ranks of predictions, uint32 [clicks], which compare like the predictions; NaN is above all others.

    Numbers that float32 represents exactly are ranked by their bits, which are inverted for negative numbers.
    """
    single = np.asarray(prediction, np.float32) + np.float32(0)  # −0 becomes 0.
    if not np.array_equal(single, prediction):
        return np.unique(prediction, return_inverse=True)[1].astype(np.uint32)
    bits = single.view(np.uint32)
    negative = single < 0
    bits ^= np.uint32(1 << 31)
    bits[negative] = ~bits[negative] ^ np.uint32(1 << 31)
    return bits


class Pairs:
    """Position of each positive among the negatives of its group, from which AUCs are computed.

    Only the negatives are sorted, by group and rank in one integer. Positives are located among them by binary search.

    Args:
        group: int64 [clicks], 0 … groups − 1, all of which occur.
        label: float [clicks].
        rank: uint32 [clicks], see `ranks`.
        keep_order: whether `order` is needed.

    Attributes:
        clicks: int64 [groups], number of clicks.
        positive: int64 [positives], rows of the positives, sorted by group and rank.
        weight: float64 [positives], their labels.
        below: int64 [positives], number of negatives of earlier groups, or of the same group with a lower rank.
        up_to: int64 [positives], the same with a lower or equal rank.
        order: int64 [negatives], rows of the negatives, sorted by group and rank.
    """

    def __init__(self, group: np.ndarray, label: np.ndarray, rank: np.ndarray, keep_order: bool = False):
        self.clicks = np.bincount(group)
        positive = np.flatnonzero(np.asarray(label) > 0)
        key = np.asarray(group).astype(np.uint64)
        key <<= np.uint64(32)
        key |= rank
        positive_key = key[positive]
        by_key = np.argsort(positive_key)  # Searching in sorted order makes better use of the CPU cache.
        self.positive, positive_key = positive[by_key], positive_key[by_key]
        if keep_order:
            negative = np.delete(np.arange(key.size), positive)
            self.order = negative[np.argsort(key[negative])]
            key = key[self.order]
        else:
            key = np.delete(key, positive)
            key.sort()
        self._group = np.asarray(group)[self.positive]
        self.weight = np.asarray(label)[self.positive].astype(np.float64)
        self.below, self.up_to = (np.searchsorted(key, positive_key, side) for side in ("left", "right"))

    def auc(self) -> PerUser:
        """AUC of each group."""
        groups = self.clicks.size
        negatives = self.clicks - np.bincount(self._group, minlength=groups)
        before = np.cumsum(negatives) - negatives
        won = np.bincount(self._group, self.weight * (0.5 * (self.below + self.up_to) - before[self._group]), groups)
        pairs = np.bincount(self._group, self.weight, groups) * negatives
        return PerUser(self.clicks, np.divide(won, pairs, out=np.full(groups, np.nan), where=pairs > 0))


class ResampledPairs:
    """Sums over pairs of clicks for the AUC, of the actual clicks and of resamples of the users, after a single sort.

    The sorted negatives are split at the positions of the positives. A sparse matrix counts the negatives of each user in
    each piece, so that a block of resamples costs one sparse matrix product.

    Args:
        user: int64 [clicks], 0 … U − 1.
        label: float [clicks].
        prediction: float [clicks].

    Attributes:
        users: largest code of a user with clicks, plus 1.
    """

    def __init__(self, user: np.ndarray, label: np.ndarray, prediction: np.ndarray):
        pairs = Pairs(np.zeros(len(label), np.int64), label, ranks(prediction), keep_order=True)
        negatives = pairs.order.size
        cuts, place = np.unique(np.concatenate([[0, negatives], pairs.below, pairs.up_to]), return_inverse=True)
        self._below, self._up_to = np.split(place[2:], 2)
        self._user, self._weight = np.asarray(user)[pairs.positive], pairs.weight
        owner = np.asarray(user)[pairs.order].astype(np.int32)
        self.users = int(np.max(user, initial=-1)) + 1
        pieces = np.ones(negatives, np.int32), owner, cuts.astype(np.int32)
        self._pieces = csr_array(pieces, shape=(cuts.size - 1, self.users))

    def whole(self) -> list[int]:
        """Number of negatives, weight of the positives, and twice the weight of the pairs that they win: exact sums [3].

        The sums (see `exact.sums`) are exact for float32 labels, whose product with an integer below 2^29 is a float64.
        """
        negatives = self._pieces.indptr.astype(np.int64)  # number up to each split
        won = self._weight * (negatives[self._below] + negatives[self._up_to])
        return [int(negatives[-1]) * exact.ONE, exact.total(self._weight), exact.total(won)]

    def drawn(self, times: np.ndarray) -> np.ndarray:
        """Number of negatives, weight of the positives, and weight of the pairs that they win: float64 [3, resamples].

        Args:
            times: uint8 [users, resamples], how often each user is drawn.
        """
        negatives = np.zeros((self._pieces.shape[0] + 1, times.shape[1]), np.int64)
        np.cumsum(self._pieces @ times.astype(np.int32), axis=0, out=negatives[1:])
        sums = np.zeros((3, times.shape[1]))
        sums[0] = negatives[-1]
        for start in range(0, self._weight.size, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            positives = self._weight[chunk, None] * times[self._user[chunk]]
            sums[1] += positives.sum(axis=0)
            positives *= negatives[self._below[chunk]] + negatives[self._up_to[chunk]]
            sums[2] += 0.5 * positives.sum(axis=0)
        return sums


def share_won(sums: np.ndarray) -> np.ndarray:
    """AUC from the sums of `ResampledPairs.drawn`: float64 [3, …] to [...]; NaN without a class."""
    negatives, weight, won = sums
    pairs = negatives * weight
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def weighted_auc(positive: np.ndarray, prediction: np.ndarray, weight: np.ndarray) -> float:
    """AUC of rows in which positives and negatives have weights; NaN without a class.

    Args:
        positive: bool [rows].
        prediction: float [rows].
        weight: float [rows].
    """
    tie = np.unique(prediction, return_inverse=True)[1]
    above, below = (np.bincount(tie, weight * side) for side in (positive, ~positive))
    pairs = above.sum() * below.sum()
    return float(above @ (np.cumsum(below) - below / 2) / pairs) if pairs else float("nan")
