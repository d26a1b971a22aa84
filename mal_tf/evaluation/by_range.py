"""Metrics that turn on the order of all predictions, from ranges of predictions: AUC and calibration.

Clicks are cut into ranges by their prediction, so that clicks of equal prediction are in one. Ranges are worked on by
themselves, given how many clicks lie before each, and combined in order.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation import calibration, draws, exact
from mal_tf.evaluation.ranking import ResampledPairs, share_won
from mal_tf.evaluation.sorted_clicks import SortedClicks

#: Bits of a prediction's key: sign, exponent and 13 of 23 bits of the fraction, 8,192 keys from one power of 2 to the next.
_KEY_BITS = 22


def keys(prediction: np.ndarray) -> np.ndarray:
    """uint32 keys of float32 predictions: equal predictions have equal keys, a larger key is a larger prediction."""
    bits = (np.asarray(prediction, np.float32) + np.float32(0)).view(np.uint32)  # −0 is 0.
    ordered = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return ordered >> np.uint32(32 - _KEY_BITS)


def cut(key: np.ndarray, clicks: np.ndarray, size: int) -> np.ndarray:
    """First keys of ranges that have less than `size` clicks more than their largest key has.

    Args:
        key: uint32 [n], distinct, ascending.
        clicks: int64 [n], of each key.
        size: clicks of a range.

    Returns:
        uint32 [ranges]; the ranges follow from the clicks alone.
    """
    number = (np.cumsum(clicks) - clicks) // size
    return key[np.unique(number, return_index=True)[1]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A model's calibration curve under each label, and what it takes to say which clicks are in which of its bins.

    Attributes:
        borders: float64 [n], see `calibration.part_of`.
        share: float64 [2n + 1, bins], see `calibration.EqualMass`.
        clicks: int64 [bins].
        predicted: float64 [bins], mean predictions, NaN without clicks.
        observed: float64 [labels, bins], mean labels, likewise.
    """

    borders: np.ndarray
    share: np.ndarray
    clicks: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray

    def excess(self, user: np.ndarray, labels: Sequence[np.ndarray], prediction: np.ndarray) -> np.ndarray:
        """Users, and the squares of their `calibration.user_excess`, by label and bin: exact sums [labels, 2, bins].

        Args:
            user: int64 [clicks] of a shard, which has all clicks of its users.
            labels: float [clicks] each.
            prediction: float [clicks].
        """
        part = calibration.part_of(self.borders, prediction)
        found = np.empty((len(labels), 2, self.clicks.size), object)
        for (place, label), number in itertools.product(enumerate(labels), range(self.clicks.size)):
            excess = calibration.user_excess(user, label, self.share[part, number], self.observed[place, number])
            found[place, :, number] = exact.total(np.ones(excess.size)), exact.total(excess**2)
        return found

    def points(self, label: int, excess: np.ndarray) -> list[dict[str, float]]:
        """As `calibration.calibration_curve` gives it, under a label by its number, of `excess` of all shards together."""
        found = []
        for number in np.flatnonzero(self.clicks).tolist():
            users, squares = map(exact.number, excess[label, :, number])
            clicks, observed = int(self.clicks[number]), float(self.observed[label, number])
            low, high = calibration.interval(observed, squares, clicks, users)
            point = {"clicks": clicks, "predicted": float(self.predicted[number]), "observed": observed}
            found.append({**point, "low": low, "high": high})
        return found


@dataclasses.dataclass(frozen=True)
class RangeSums:
    """Sums over the clicks of neighbouring ranges by group.

    Attributes:
        pairs: see `ResampledPairs.whole`: [3, groups].
        bins: see `SortedClicks.bins`: [2, groups, bins].
        drawn: see `ResampledPairs.drawn`: float64 [3, groups, samples].
        borders: see `SortedClicks.borders`, of all clicks: float64 [3, bins − 1].
    """

    pairs: np.ndarray
    bins: np.ndarray
    drawn: np.ndarray
    borders: np.ndarray

    def followed_by(self, other: "RangeSums") -> "RangeSums":
        """Sums over both, where all predictions of the other are larger."""
        pairs, drawn = self.pairs + other.pairs, self.drawn + other.drawn
        pairs[2] += 2 * self.pairs[0] * other.pairs[1] // exact.ONE
        drawn[2] += self.drawn[0] * other.drawn[1]
        return RangeSums(pairs, self.bins + other.bins, drawn, self.borders + other.borders)

    def curve(self, labels: int, clicks: int) -> "Curve":
        """The calibration curve under each label: so many first groups have all the clicks, whose borders these are."""
        prediction, place = np.unique(self.borders[0, self.borders[2] > 0], return_index=True)
        below, equal = self.borders[1:, self.borders[2] > 0][:, place]
        starts = calibration.bin_starts(clicks, self.bins.shape[2])
        size = np.diff([0, *np.column_stack([below, below + equal]).ravel(), clicks])
        count = np.diff(starts)
        with np.errstate(invalid="ignore"):
            predicted, observed = np.vectorize(exact.number, [np.float64])(self.bins[:, :labels]) / count
        return Curve(prediction, calibration.shares(size, starts), count, predicted[0], observed)

    def auc(self) -> np.ndarray:
        """AUC by group, float64 [groups, 1 + samples], the first of the clicks as they are; NaN without a class."""
        negatives, weight, won = self.pairs
        pairs = 2 * negatives * weight // exact.ONE
        whole = [won / pairs if pairs else np.nan for won, pairs in zip(won, pairs, strict=True)]
        return np.column_stack([np.array(whole, np.float64), share_won(self.drawn)])


@dataclasses.dataclass(frozen=True)
class Ranked:
    """The clicks of a range.

    Attributes:
        user: int64 [clicks], 0 … U − 1.
        hashed: uint64 [U] (`mal_tf.evaluation.draws`).
        prediction: float [clicks].
        groups: of each group, its rows, int64 [n], and their labels, float [n]; the first has all clicks.
    """

    user: np.ndarray
    hashed: np.ndarray
    prediction: np.ndarray
    groups: Sequence[tuple[np.ndarray, np.ndarray]]

    def sums(self, before: np.ndarray, clicks: np.ndarray, bins: int, samples: int, seed: int) -> RangeSums:
        """Sums over the clicks.

        Args:
            before: int64 [groups], see `SortedClicks.bins`.
            clicks: likewise.
            bins: of calibration.
            samples: how many resamples.
            seed: of them.
        """
        pairs = [ResampledPairs(self.user[rows], label, self.prediction[rows]) for rows, label in self.groups]
        drawn = np.zeros((3, len(pairs), samples))
        for some, times in draws.blocks(self.hashed, seed, samples):
            for number, one in enumerate(pairs):
                drawn[:, number, some] = one.drawn(times[: one.users])
        rows, labels = (np.concatenate(columns) for columns in zip(*self.groups, strict=True))
        group = np.repeat(np.arange(len(pairs)), [len(rows) for rows, _ in self.groups])
        binned = SortedClicks(group, labels, self.prediction[rows], len(pairs)).bins(before, clicks, bins)
        every = SortedClicks(np.zeros(self.user.size, np.int64), self.groups[0][1], self.prediction, 1)
        borders = every.borders(int(before[0]), int(clicks[0]), bins)
        return RangeSums(np.array([one.whole() for one in pairs], object).T, binned, drawn, borders)
