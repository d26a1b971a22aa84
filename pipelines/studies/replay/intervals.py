"""What each arm bought was worth, compared, with bootstrap intervals over users and trainings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from mal_tf.evaluation import draws
from mal_tf.evaluation.judgement import interval, lifts

#: What is summed over the clicks bought; ROI is gmv / spend.
SUMS = ("gmv", "orders", "spend")
MEASURES = (*SUMS, "roi")

#: The results of all industries together.
ALL = "all"


def totals(amount: scipy.sparse.csr_matrix, hashed: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Sums over users, and over those in each resample (`mal_tf.evaluation.draws`).

    What was bought stays bought: that another draw of users would have left other budgets for the rest is not replayed.

    Args:
        amount: float64 [users, columns].
        hashed: uint64 [users], well-mixed hashes of the users' ids.
        samples: how many resamples.
        seed: of the draws.

    Returns:
        float64 [1 + samples, columns]; the first row is of the users as they are.
    """
    sums, by_column = np.empty((1 + samples, amount.shape[1])), amount.T.tocsr()
    sums[0] = np.asarray(amount.sum(axis=0)).ravel()
    for some, times in draws.blocks(hashed, seed, samples):
        sums[1 + some.start : 1 + some.stop] = (by_column @ times.astype(np.float64)).T
    return sums


def amounts(
    user: np.ndarray, column: np.ndarray, values: np.ndarray, member: np.ndarray, columns: int
) -> scipy.sparse.csr_matrix:
    """What was bought as a matrix of users and columns: so many of each sum, then a 1 per arm that the user is in.

    Args:
        user: int64 [B], of each purchase.
        column: int64 [B], training, arm and industry in one number below `columns`.
        values: float64 [3, B], GMV, orders and spend of each.
        member: bool [M, U].
        columns: of each of the three sums.
    """
    arms, users = member.shape
    arm, of_arm = np.nonzero(member)
    rows = np.concatenate([np.tile(user, len(SUMS)), of_arm])
    places = np.concatenate([*(column + number * columns for number in range(len(SUMS))), len(SUMS) * columns + arm])
    data = np.concatenate([values.ravel(), np.ones(arm.size)])
    return scipy.sparse.csr_matrix((data, (rows, places)), shape=(users, len(SUMS) * columns + arms))


def measures(found: np.ndarray, replays: int, arms: int, industries: int, seed: int) -> dict[str, np.ndarray]:
    """GMV, orders and spend per 1,000 users of the arm, and ROI, means over trainings.

    With several trainings, as many of each arm's are drawn anew for each resample of the users.

    Args:
        found: float64 [1 + samples, columns], what `totals` made of `amounts`.
        replays: trainings of each arm.
        arms: M.
        industries: G.
        seed: of the draws of trainings.

    Returns:
        By measure: float64 [1 + samples, M, 1 + G], all industries first; NaN where it is not defined.
    """
    rows = found.shape[0]
    sums = found[:, :-arms].reshape(rows, len(SUMS), replays, arms, industries)
    sums = np.concatenate([sums.sum(axis=-1, keepdims=True), sums], axis=-1)
    drawn = np.random.default_rng([seed, 1]).integers(replays, size=(rows, 1, replays, arms, 1))
    drawn[0] = np.arange(replays)[:, None, None]
    sums = np.take_along_axis(sums, drawn, axis=2).mean(axis=2)
    gmv, spend = sums[:, 0], sums[:, 2]
    roi = np.divide(gmv, spend, out=np.full(gmv.shape, np.nan), where=spend > 0)
    users = found[:, None, -arms:, None]
    per_user = np.divide(1000 * sums, users, out=np.full(sums.shape, np.nan), where=users > 0)
    return {name: per_user[:, number] for number, name in enumerate(SUMS)} | {"roi": roi}


def described(of_measure: dict[str, np.ndarray], base: int, arms: Sequence[str], industries: Sequence[str]) -> dict:
    """Values and their differences to an arm, with 95% percentile intervals over the resamples.

    Args:
        of_measure: see `measures`.
        base: number of the arm that the others are compared with.
        arms: names.
        industries: names.

    Returns:
        By arm, then by industry (`all` first), then by measure: `{"value", "low", "high", "lift", "lift_low",
        "lift_high"}`; lift is value / the other arm's − 1. Null where it is not defined.
    """
    found: dict[str, Any] = {arm: {name: {} for name in (ALL, *industries)} for arm in arms}
    for measure, values in of_measure.items():
        relative = lifts(values, base)
        ends, lift_ends = interval(values[1:]), interval(relative[1:])
        for i, arm in enumerate(arms):
            for j, industry in enumerate((ALL, *industries)):
                cells = {"value": values[0, i, j], "low": ends[0][i, j], "high": ends[1][i, j]}
                cells |= {"lift": relative[0, i, j], "lift_low": lift_ends[0][i, j], "lift_high": lift_ends[1][i, j]}
                numbers = {name: None if np.isnan(cell) else float(cell) for name, cell in cells.items()}
                found[arm][industry][measure] = numbers
    return found
