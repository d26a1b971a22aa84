"""AUC and calibration, which depend on the order of all predictions, computed by ranges of predictions.

Clicks are partitioned into ranges of their prediction, such that equal predictions are in one range. Each range is processed
separately, given the number of clicks below it, and the results are combined in order.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation import calibration, draws, exact
from mal_tf.evaluation.ranking import ResampledPairs, share_won
from mal_tf.evaluation.sorted_clicks import SortedClicks

#: Bits of a prediction's key: sign, exponent and 13 of 23 bits of the fraction, so 8,192 keys per power of 2.
_KEY_BITS = 22


def keys(prediction: np.ndarray) -> np.ndarray:
    """uint32 keys of float32 predictions. Equal predictions have equal keys, and a larger key means a larger prediction."""
    bits = (np.asarray(prediction, np.float32) + np.float32(0)).view(np.uint32)  # −0 is 0.
    ordered = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return ordered >> np.uint32(32 - _KEY_BITS)


def cut(key: np.ndarray, clicks: np.ndarray, size: int) -> np.ndarray:
    """Partitions keys into ranges of about `size` clicks; a range exceeds it by at most the clicks of its largest key.

    Args:
        key: uint32 [n], distinct, ascending.
        clicks: int64 [n], number of clicks of each key.
        size: number of clicks of a range.

    Returns:
        uint32 [ranges], the first key of each range, which depends only on the clicks.
    """
    number = (np.cumsum(clicks) - clicks) // size
    return key[np.unique(number, return_index=True)[1]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Calibration curve of a model under each label, with the borders that assign clicks to its bins.

    Attributes:
        borders: float64 [n], see `calibration.part_of`.
        share: float64 [2n + 1, bins], see `calibration.EqualMass`.
        clicks: int64 [bins], number of clicks.
        predicted: float64 [bins], mean predictions, NaN without clicks.
        observed: float64 [labels, bins], mean labels, NaN without clicks.
    """

    borders: np.ndarray
    share: np.ndarray
    clicks: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray

    def excess(self, user: np.ndarray, labels: Sequence[np.ndarray], prediction: np.ndarray) -> np.ndarray:
        """Number of users, and sum of their squared `calibration.user_excess`: exact sums [labels, 2, bins].

        Args:
            user: int64 [clicks], users of a shard that has all clicks of its users.
            labels: float [clicks] each.
            prediction: float [clicks].
        """
        part = calibration.part_of(self.borders, prediction)
        sums = np.empty((len(labels), 2, self.clicks.size), object)
        for (index, label), number in itertools.product(enumerate(labels), range(self.clicks.size)):
            excess = calibration.user_excess(user, label, self.share[part, number], self.observed[index, number])
            sums[index, :, number] = exact.total(np.ones(excess.size)), exact.total(excess**2)
        return sums

    def points(self, label: int, excess: np.ndarray) -> list[dict[str, float]]:
        """Points of the curve under one label, in the form of `calibration.calibration_curve`.

        Args:
            label: index of the label.
            excess: result of `excess`, summed over all shards.
        """
        points = []
        for number in np.flatnonzero(self.clicks).tolist():
            users, squares = map(exact.number, excess[label, :, number])
            clicks, observed = int(self.clicks[number]), float(self.observed[label, number])
            low, high = calibration.interval(observed, squares, clicks, users)
            point = {"clicks": clicks, "predicted": float(self.predicted[number]), "observed": observed}
            points.append({**point, "low": low, "high": high})
        return points


@dataclasses.dataclass(frozen=True)
class RangeSums:
    """Sums over the clicks of consecutive ranges, by group of clicks.

    Attributes:
        pairs: exact sums [3, groups], see `ResampledPairs.whole`.
        bins: exact sums [2, groups, bins], see `SortedClicks.bins`.
        drawn: float64 [3, groups, samples], see `ResampledPairs.drawn`.
        borders: float64 [3, bins − 1] of all clicks, see `SortedClicks.borders`.
    """

    pairs: np.ndarray
    bins: np.ndarray
    drawn: np.ndarray
    borders: np.ndarray

    def followed_by(self, other: "RangeSums") -> "RangeSums":
        """Combines the sums with those of a range in which all predictions are larger."""
        pairs, drawn = self.pairs + other.pairs, self.drawn + other.drawn
        pairs[2] += 2 * self.pairs[0] * other.pairs[1] // exact.ONE
        drawn[2] += self.drawn[0] * other.drawn[1]
        return RangeSums(pairs, self.bins + other.bins, drawn, self.borders + other.borders)

    def curve(self, labels: int, clicks: int) -> "Curve":
        """The calibration curve under each label.

        Args:
            labels: number of labels. As many first groups have all clicks, one for each label.
            clicks: number of all clicks.
        """
        prediction, index = np.unique(self.borders[0, self.borders[2] > 0], return_index=True)
        below, equal = self.borders[1:, self.borders[2] > 0][:, index]
        starts = calibration.bin_starts(clicks, self.bins.shape[2])
        size = np.diff([0, *np.column_stack([below, below + equal]).ravel(), clicks])
        count = np.diff(starts)
        with np.errstate(invalid="ignore"):
            predicted, observed = np.vectorize(exact.number, [np.float64])(self.bins[:, :labels]) / count
        return Curve(prediction, calibration.shares(size, starts), count, predicted[0], observed)

    def auc(self) -> np.ndarray:
        """AUC by group, float64 [groups, 1 + samples], first of the actual clicks, then of resamples; NaN without a class."""
        negatives, weight, won = self.pairs
        pairs = 2 * negatives * weight // exact.ONE
        whole = [won / pairs if pairs else np.nan for won, pairs in zip(won, pairs, strict=True)]
        return np.column_stack([np.array(whole, np.float64), share_won(self.drawn)])


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The clicks of a range.

    Attributes:
        user: int64 [clicks], 0 … U − 1.
        hashed: uint64 [U], hashes of the users (`mal_tf.evaluation.draws`).
        prediction: float [clicks].
        groups: rows, int64 [n], and labels, float [n], of each group; the first group has all clicks.
    """

    user: np.ndarray
    hashed: np.ndarray
    prediction: np.ndarray
    groups: Sequence[tuple[np.ndarray, np.ndarray]]

    def sums(self, before: np.ndarray, clicks: np.ndarray, bins: int, samples: int, seed: int) -> RangeSums:
        """Computes the sums over the clicks.

        Args:
            before: int64 [groups], see `SortedClicks.bins`.
            clicks: int64 [groups], see `SortedClicks.bins`.
            bins: number of calibration bins.
            samples: number of resamples.
            seed: seed of the resamples.
        """
        pairs = [ResampledPairs(self.user[rows], label, self.prediction[rows]) for rows, label in self.groups]
        drawn = np.zeros((3, len(pairs), samples))
        for block, times in draws.blocks(self.hashed, seed, samples):
            for number, group_pairs in enumerate(pairs):
                drawn[:, number, block] = group_pairs.drawn(times[: group_pairs.users])
        rows, labels = (np.concatenate(columns) for columns in zip(*self.groups, strict=True))
        group = np.repeat(np.arange(len(pairs)), [len(rows) for rows, _ in self.groups])
        binned = SortedClicks(group, labels, self.prediction[rows], len(pairs)).bins(before, clicks, bins)
        all_clicks = SortedClicks(np.zeros(self.user.size, np.int64), self.groups[0][1], self.prediction, 1)
        borders = all_clicks.borders(int(before[0]), int(clicks[0]), bins)
        return RangeSums(np.array([p.whole() for p in pairs], object).T, binned, drawn, borders)
