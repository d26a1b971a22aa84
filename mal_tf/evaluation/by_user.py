"""Metrics as ratios of sums over users, which add up exactly over shards of users, for actual clicks and resamples."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation import draws, exact
from mal_tf.evaluation.metric import Clicks, RatioMetric

#: Columns of the counts of a group of clicks. Numerator and denominator of each metric of each model follow them.
CLICKS, POSITIVES, USERS, POSITIVE_USERS, BOTH_USERS = range(5)
COUNTS = 5

#: Fixed-point scale of sums in resamples. They are integers that a float64 holds exactly for a shard, and an int64 for all.
_FIXED = 2.0**24

#: Users whose draws are multiplied at a time.
_BLOCK = 8192


class DrawnSums:
    """Sums over the users of a resample.

    Args:
        values: float64 [columns, users].
    """

    def __init__(self, values: np.ndarray):
        self._fixed = np.rint(values * _FIXED)

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Sums for each resample, in units of 2^-24.

        Args:
            times: uint8 [users, resamples], how often each user is drawn.

        Returns:
            int64 [columns, resamples].
        """
        sums = np.zeros((len(self._fixed), times.shape[1]), np.int64)
        for start in range(0, len(times), _BLOCK):
            block = slice(start, start + _BLOCK)
            sums += (self._fixed[:, block] @ times[block].astype(np.float64)).astype(np.int64)
        return sums


def ratios(sums: np.ndarray) -> np.ndarray:
    """Divides each even row by the next one: [2n, …] to float64 [n, …]; NaN where the divisor is 0."""
    above, below = sums[0::2], sums[1::2]
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


@dataclasses.dataclass(frozen=True)
class UserSums:
    """Sums over users, by group of clicks.

    Attributes:
        whole: Python integers [groups, 5 + models · metrics · 2], exact sums over the actual clicks, see `exact.sums`.
        drawn: int64 [groups, models · metrics · 2, samples], sums of the resamples in units of 2^-24.
    """

    whole: np.ndarray
    drawn: np.ndarray

    def __add__(self, other: "UserSums") -> "UserSums":
        return UserSums(self.whole + other.whole, self.drawn + other.drawn)

    def ratios(self, group: int) -> np.ndarray:
        """Metrics of each model, float64 [models · metrics, 1 + samples], first of the actual clicks, then of resamples."""
        sums = self.whole[group, COUNTS:]
        whole = [a / b if b else np.nan for a, b in zip(sums[0::2], sums[1::2], strict=True)]
        return np.column_stack([np.array(whole, np.float64), ratios(self.drawn[group])])


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of clicks of a shard that has all clicks of its users.

    Attributes:
        user: int64 [clicks], index of the user in the shard.
        label: float [clicks].
        predictions: float [clicks] for each model.
    """

    user: np.ndarray
    label: np.ndarray
    predictions: Sequence[np.ndarray]

    def values(self, metrics: Sequence[RatioMetric]) -> tuple[np.ndarray, np.ndarray]:
        """Users with clicks in the group, int64 [users], and their contributions to the sums, float64 [columns, users]."""
        present, code = np.unique(self.user, return_inverse=True)
        clicks = np.bincount(code, minlength=present.size)
        positives = np.bincount(code, self.label > 0, present.size)
        columns = [clicks, positives, np.ones(present.size), positives > 0, (positives > 0) & (positives < clicks)]
        for prediction in self.predictions:
            scored = Clicks(code, self.label, prediction)
            columns += [sums for metric in metrics for sums in metric.parts(scored)]
        return present, np.array(columns, np.float64)


def user_sums(
    groups: Sequence[Group], hashed: np.ndarray, metrics: Sequence[RatioMetric], samples: int, seed: int
) -> UserSums:
    """Computes the sums over the users of a shard.

    Sums over the clicks of a user are rounded in the order of the clicks. Sort them by all added values for a result that
    does not depend on the order in which they arrive.

    Args:
        groups: groups of clicks.
        hashed: uint64 [users of the shard], hashes of the users (`mal_tf.evaluation.draws`).
        metrics: metrics whose parts are added up.
        samples: number of resamples.
        seed: seed of the resamples.
    """
    columns = len(groups[0].predictions) * len(metrics) * 2
    whole = np.zeros((len(groups), COUNTS + columns), object)
    drawn = np.zeros((len(groups), columns, samples), np.int64)
    filled = []
    for number, group in enumerate(groups):
        if group.user.size:
            present, values = group.values(metrics)
            whole[number] = [exact.total(column) for column in values]
            filled.append((number, present, DrawnSums(values[COUNTS:])))
    for block, times in draws.blocks(hashed, seed, samples):
        for number, present, sums in filled:
            drawn[number, :, block] = sums(times[present])
    return UserSums(whole, drawn)
