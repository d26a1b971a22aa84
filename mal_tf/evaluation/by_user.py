"""Metrics that add up over users: shards of users add up to the metrics of all, exactly."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation import exact
from mal_tf.evaluation.metrics import click_losses
from mal_tf.evaluation.sorted_clicks import SortedClicks

#: What is added up for each group of clicks; `AUC`, its clicks times the AUC of each user with both classes, `LOSS` and
#: `PREDICTION` once for each model, in the order of the models.
CLICKS, POSITIVES, USERS, POSITIVE_USERS, BOTH_USERS, BOTH_CLICKS, LABEL = range(7)
OF_MODEL = 7
AUC, LOSS, PREDICTION = range(3)

#: Resamples add whole numbers of this unit, as a float64 of a shard and an int64 of all hold them exactly.
_FIXED = 2.0**24

#: Users whose draws are multiplied at a time.
_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class UserSums:
    """Sums over users, of the clicks as they are and of resamples.

    Attributes:
        whole: Python integers [groups, 7 + 3 · models], see `exact.sums`.
        drawn: int64 [groups, 7 + 3 · models, samples], in units of 2^-24.
    """

    whole: np.ndarray
    drawn: np.ndarray

    def __add__(self, other: "UserSums") -> "UserSums":
        return UserSums(self.whole + other.whole, self.drawn + other.drawn)

    @classmethod
    def of_groups(cls, parts: Sequence["UserSums"]) -> "UserSums":
        """The groups of all parts, one part's after another's."""
        return cls(np.concatenate([part.whole for part in parts]), np.concatenate([part.drawn for part in parts]))

    def ratio(self, above: int, below: int) -> np.ndarray:
        """One sum over another by group, float64 [groups, 1 + samples], the first of the clicks as they are; NaN over 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = self.drawn[:, above] / self.drawn[:, below]
        whole = [a / b if b else np.nan for a, b in self.whole[:, [above, below]]]
        drawn[self.drawn[:, below] == 0] = np.nan
        return np.column_stack([np.array(whole, np.float64), drawn])


def user_sums(
    group: np.ndarray,
    user: np.ndarray,
    label: np.ndarray,
    predictions: Sequence[np.ndarray],
    groups: int,
    draws: np.ndarray,
) -> UserSums:
    """Sums over the users of a shard, which has all clicks of its users.

    Sums over a user's clicks are rounded in their order: sort the clicks by all that is added up, and it does not matter
    where they come from.

    Args:
        group: int64 [clicks], 0 … groups − 1.
        user: int64 [clicks], 0 … users − 1.
        label: float [clicks].
        predictions: float [clicks], one per model.
        groups: how many.
        draws: uint8 [users, samples] (`mal_tf.evaluation.draws`).
    """
    columns = OF_MODEL + 3 * len(predictions)
    pair, code = np.unique(group * len(draws) + user, return_inverse=True)
    group, user = pair // len(draws), pair % len(draws)
    values = np.zeros((columns, pair.size))
    values[CLICKS] = np.bincount(code, minlength=pair.size)
    values[POSITIVES] = np.bincount(code, label > 0, pair.size)
    values[USERS] = 1
    values[POSITIVE_USERS] = values[POSITIVES] > 0
    values[BOTH_USERS] = (values[POSITIVES] > 0) & (values[POSITIVES] < values[CLICKS])
    values[BOTH_CLICKS] = values[BOTH_USERS] * values[CLICKS]
    values[LABEL] = np.bincount(code, label, pair.size)
    rows = np.arange(code.size)
    for number, prediction in enumerate(predictions):
        by_pair = SortedClicks(rows, code, label, prediction, pair.size)
        of_model = values[OF_MODEL + 3 * number :]
        of_model[AUC] = np.nan_to_num(by_pair.auc()) * values[BOTH_CLICKS]
        of_model[LOSS] = np.bincount(code, click_losses(label, prediction), pair.size)
        of_model[PREDICTION] = np.bincount(code, prediction, pair.size)
    whole = np.stack([exact.sums(group, column, groups) for column in values], axis=1)
    drawn = np.zeros((groups, columns, draws.shape[1]), np.int64)
    fixed, bounds = np.rint(values * _FIXED), np.searchsorted(group, np.arange(groups + 1))
    for number in np.unique(group) if draws.shape[1] else ():
        for start in range(bounds[number], bounds[number + 1], _BLOCK):
            some = slice(start, min(start + _BLOCK, bounds[number + 1]))
            drawn[number] += (fixed[:, some] @ draws[user[some]].astype(np.float64)).astype(np.int64)
    return UserSums(whole, drawn)
