"""Clicks of several groups by prediction: what AUC and calibration of each group are made of."""

import numpy as np

from mal_tf.evaluation import calibration, exact


class SortedClicks:
    """Clicks by group and prediction; a click may be in several groups.

    Clicks of equal prediction are sorted by label, so that no sum depends on the order in which clicks come, but sums over
    resamples, which depend on the order of clicks that are the same to this class: sort them by user before.

    Args:
        rows: int64 [n], which clicks.
        group: int64 [n], 0 … groups − 1.
        label: float [n].
        prediction: float [n].
        groups: how many.

    Attributes:
        groups: how many.
    """

    def __init__(self, rows: np.ndarray, group: np.ndarray, label: np.ndarray, prediction: np.ndarray, groups: int):
        order = np.lexsort((label, prediction, group))
        self.groups = groups
        self._rows, self._group = rows[order], group[order]
        label, self._prediction = np.asarray(label, np.float64)[order], np.asarray(prediction, np.float64)[order]
        new_group = np.append(True, np.diff(self._group) != 0)[: order.size]
        new_tie = new_group | np.append(True, np.diff(self._prediction) != 0)[: order.size]
        self._ties, self._tie = np.flatnonzero(new_tie), np.cumsum(new_tie) - 1
        self._starts = np.flatnonzero(new_group)
        self._label, self._negative = label, (label <= 0).astype(np.float64)
        self._weight = np.where(label > 0, label, 0.0)

    def _won(self) -> np.ndarray:
        """Twice the weight of the pairs that each click wins, ties one half, float64 [n].

        Exact where labels are float32: one times an integer below 2^29.
        """
        of_tie = np.bincount(self._tie, self._negative)
        return self._weight * (2 * self._before(np.cumsum(of_tie) - of_tie) + of_tie)[self._tie]

    def _before(self, below: np.ndarray) -> np.ndarray:
        """Sums over all ties before each to sums over those of its group, float64 [ties]."""
        first = self._tie[self._starts]
        return below - np.repeat(below[first], np.diff(first, append=below.size))

    def auc(self) -> np.ndarray:
        """AUC of each group, float64 [groups], NaN without a class."""
        won, weight, negatives = (
            np.bincount(self._group, values, self.groups) for values in (self._won(), self._weight, self._negative)
        )
        pairs = 2 * weight * negatives
        return np.divide(won, pairs, out=np.full(self.groups, np.nan), where=pairs > 0)

    def sums(self) -> np.ndarray:
        """Negatives, weight of positives and twice the weight of pairs won, exact sums [3, groups] (`exact.sums`)."""
        return np.stack([exact.sums(self._group, v, self.groups) for v in (self._negative, self._weight, self._won())])

    def drawn(self, times: np.ndarray) -> np.ndarray:
        """Negatives, weight of positives and weight of pairs won in a resample, float64 [3, groups].

        Args:
            times: float64 [clicks], how often each click's user is drawn.
        """
        found = np.zeros((3, self.groups))
        if self._rows.size:
            times = times[self._rows]
            negative = np.add.reduceat(self._negative * times, self._ties)
            weight = np.add.reduceat(self._weight * times, self._ties)
            won = weight * (self._before(np.cumsum(negative) - negative) + 0.5 * negative)
            groups = self._group[self._starts]
            for number, values in enumerate((negative, weight, won)):
                found[number, groups] = np.add.reduceat(values, self._tie[self._starts])
        return found

    def bins(self, before: np.ndarray, clicks: np.ndarray, bins: int) -> np.ndarray:
        """Predictions and labels in equal-mass bins of each group's clicks, exact sums [2, groups, bins].

        Clicks of equal prediction share their mean label, as in `calibration.equal_mass`.

        Args:
            before: int64 [groups], clicks of the group elsewhere, all of lower prediction than these.
            clicks: int64 [groups], of the whole group.
            bins: how many.
        """
        place = np.arange(self._group.size) - np.repeat(self._starts, np.diff(self._starts, append=self._group.size))
        part = (before[self._group] + place) * bins // np.maximum(clicks, 1)[self._group]
        shared = (np.bincount(self._tie, self._label) / np.bincount(self._tie))[self._tie]
        cell, cells = self._group * bins + part, self.groups * bins
        sums = [exact.sums(cell, values, cells) for values in (self._prediction, shared)]
        return np.stack(sums).reshape(2, self.groups, bins)

    def borders(self, before: int, clicks: int, bins: int) -> np.ndarray:
        """Where the equal-mass bins of a single group meet, float64 [3, bins − 1]; arguments as in `bins`.

        Returns:
            The prediction there, clicks below it, and clicks of just that prediction; 0 where bins meet elsewhere.
        """
        found, place = np.zeros((3, bins - 1)), calibration.bin_starts(clicks, bins)[1:-1] - before
        here = np.flatnonzero((place >= 0) & (place < self._group.size) & (place + before > 0))
        tie = self._tie[place[here]]
        found[:, here] = self._prediction[place[here]], before + self._ties[tie], np.bincount(self._tie)[tie]
        return found
