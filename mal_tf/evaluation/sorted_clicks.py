"""Sums of predictions and labels in equal-mass bins, for the calibration of several groups of clicks."""

import numpy as np

from mal_tf.evaluation import calibration, exact


class SortedClicks:
    """Clicks sorted by group and prediction. A click may be in several groups.

    Clicks of equal prediction are sorted by label, so that sums do not depend on the order in which clicks arrive.

    Args:
        group: int64 [n], 0 … groups − 1.
        label: float [n].
        prediction: float [n].
        groups: number of groups.

    Attributes:
        groups: number of groups.
    """

    def __init__(self, group: np.ndarray, label: np.ndarray, prediction: np.ndarray, groups: int):
        order = np.lexsort((label, prediction, group))
        self.groups, self._group = groups, group[order]
        self._label, self._prediction = (np.asarray(values, np.float64)[order] for values in (label, prediction))
        new_group = np.append(True, np.diff(self._group) != 0)[: order.size]
        new_tie = new_group | np.append(True, np.diff(self._prediction) != 0)[: order.size]
        self._ties, self._tie = np.flatnonzero(new_tie), np.cumsum(new_tie) - 1
        self._starts = np.flatnonzero(new_group)

    def bins(self, before: np.ndarray, clicks: np.ndarray, bins: int) -> np.ndarray:
        """Sums of predictions and of labels in equal-mass bins of each group: exact sums [2, groups, bins].

        Clicks of equal prediction share their mean label, as in `calibration.equal_mass`.

        Args:
            before: int64 [groups], number of clicks of the group that are elsewhere, all with lower predictions.
            clicks: int64 [groups], number of all clicks of the group.
            bins: number of bins.
        """
        place: np.ndarray = np.arange(self._group.size) - np.repeat(
            self._starts, np.diff(self._starts, append=self._group.size)
        )
        part = (before[self._group] + place) * bins // np.maximum(clicks, 1)[self._group]
        shared = (np.bincount(self._tie, self._label) / np.bincount(self._tie))[self._tie]
        cell, cells = self._group * bins + part, self.groups * bins
        sums = [exact.sums(cell, values, cells) for values in (self._prediction, shared)]
        return np.stack(sums).reshape(2, self.groups, bins)

    def borders(self, before: int, clicks: int, bins: int) -> np.ndarray:
        """Borders between the equal-mass bins of a single group. Arguments are as in `bins`.

        Returns:
            float64 [3, bins − 1]: the prediction at each border, the number of clicks below it, and the number of clicks with
            exactly that prediction; 0 for borders that are elsewhere.
        """
        borders, place = np.zeros((3, bins - 1)), calibration.bin_starts(clicks, bins)[1:-1] - before
        here = np.flatnonzero((place >= 0) & (place < self._group.size) & (place + before > 0))
        tie = self._tie[place[here]]
        borders[:, here] = self._prediction[place[here]], before + self._ties[tie], np.bincount(self._tie)[tie]
        return borders
