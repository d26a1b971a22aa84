"""Sums over users: shards of users add up to those of all, exactly, of the clicks as they are and of resamples."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation import draws, exact
from mal_tf.evaluation.metric import Clicks, RatioMetric

#: What is added up for each group of clicks; then, for each model and each of its metrics, the sum above and the one below.
CLICKS, POSITIVES, USERS, POSITIVE_USERS, BOTH_USERS = range(5)
COUNTS = 5

#: Resamples add whole numbers of this unit, as a float64 of a shard and an int64 of all hold them exactly.
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
        """Sums in units of 2^-24, int64 [columns, resamples], of how often each user is drawn, uint8 [users, resamples]."""
        sums = np.zeros((len(self._fixed), times.shape[1]), np.int64)
        for start in range(0, len(times), _BLOCK):
            some = slice(start, start + _BLOCK)
            sums += (self._fixed[:, some] @ times[some].astype(np.float64)).astype(np.int64)
        return sums


def ratios(sums: np.ndarray) -> np.ndarray:
    """Each even row over the next one, [2n, …] to float64 [n, …]; NaN over 0."""
    above, below = sums[0::2], sums[1::2]
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


@dataclasses.dataclass(frozen=True)
class UserSums:
    """Sums over users by group.

    Attributes:
        whole: Python integers [groups, 5 + models · metrics · 2], of the clicks as they are, see `exact.sums`.
        drawn: int64 [groups, models · metrics · 2, samples], in units of 2^-24.
    """

    whole: np.ndarray
    drawn: np.ndarray

    def __add__(self, other: "UserSums") -> "UserSums":
        return UserSums(self.whole + other.whole, self.drawn + other.drawn)

    def ratios(self, group: int) -> np.ndarray:
        """The metrics of each model, float64 [models · metrics, 1 + samples], the first of the clicks as they are."""
        sums = self.whole[group, COUNTS:]
        whole = [a / b if b else np.nan for a, b in zip(sums[0::2], sums[1::2], strict=True)]
        return np.column_stack([np.array(whole, np.float64), ratios(self.drawn[group])])


@dataclasses.dataclass(frozen=True)
class Group:
    """Some clicks of a shard, which has all clicks of its users.

    Attributes:
        user: int64 [clicks], index of the user in the shard.
        label: float [clicks].
        predictions: float [clicks] of each model.
    """

    user: np.ndarray
    label: np.ndarray
    predictions: Sequence[np.ndarray]

    def values(self, metrics: Sequence[RatioMetric]) -> tuple[np.ndarray, np.ndarray]:
        """The users who have clicks in the group, int64 [users], and what they add, float64 [columns, users]."""
        present, code = np.unique(self.user, return_inverse=True)
        clicks = np.bincount(code, minlength=present.size)
        positives = np.bincount(code, self.label > 0, present.size)
        columns = [clicks, positives, np.ones(present.size), positives > 0, (positives > 0) & (positives < clicks)]
        for prediction in self.predictions:
            some = Clicks(code, self.label, prediction)
            columns += [sums for metric in metrics for sums in metric.parts(some)]
        return present, np.array(columns, np.float64)


def user_sums(
    groups: Sequence[Group], hashed: np.ndarray, metrics: Sequence[RatioMetric], samples: int, seed: int
) -> UserSums:
    """Sums over the users of a shard.

    Sums over a user's clicks are rounded in their order: sort the clicks by all that is added up, and it does not matter
    where they come from.

    Args:
        groups: the clicks.
        hashed: uint64 [users of the shard] (`mal_tf.evaluation.draws`).
        metrics: what is added up.
        samples: how many resamples.
        seed: of them.
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
    for some, times in draws.blocks(hashed, seed, samples):
        for number, present, sums in filled:
            drawn[number, :, some] = sums(times[present])
    return UserSums(whole, drawn)
