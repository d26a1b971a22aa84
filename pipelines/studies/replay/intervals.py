"""GMV, orders, spend and ROI of each arm, compared with bootstrap intervals over users and trainings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from mal_tf.evaluation import draws
from mal_tf.evaluation.judgement import interval, lifts

#: Quantities summed over the clicks bought; ROI is GMV / spend.
SUMS = ("gmv", "orders", "spend")
MEASURES = (*SUMS, "roi")

#: Key of the results over all industries.
ALL = "all"


def totals(amount: scipy.sparse.csr_matrix, hashed: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Sums amounts over all users, and over the users in each resample (`mal_tf.evaluation.draws`).

    Auctions are not replayed per resample, although other users would leave other budgets for the rest.

    Args:
        amount: float64 [users, columns].
        hashed: uint64 [users], well-mixed hashes of the users' ids.
        samples: number of resamples.
        seed: random seed of the resamples.

    Returns:
        float64 [1 + samples, columns]; the first row is for the original users.
    """
    sums, by_column = np.empty((1 + samples, amount.shape[1])), amount.T.tocsr()
    sums[0] = np.asarray(amount.sum(axis=0)).ravel()
    for some, times in draws.blocks(hashed, seed, samples):
        sums[1 + some.start : 1 + some.stop] = (by_column @ times.astype(np.float64)).T
    return sums


def amounts(
    user: np.ndarray, column: np.ndarray, values: np.ndarray, member: np.ndarray, columns: int
) -> scipy.sparse.csr_matrix:
    """Builds a matrix of users and columns from purchases, with `columns` for each of `SUMS`, then an indicator per arm.

    Args:
        user: int64 [B], user of each purchase.
        column: int64 [B], code below `columns` of training, arm and industry.
        values: float64 [3, B], GMV, orders and spend of each purchase.
        member: bool [M, U], whether a user belongs to an arm.
        columns: number of columns of each sum.
    """
    arms, users = member.shape
    arm, arm_user = np.nonzero(member)
    rows = np.concatenate([np.tile(user, len(SUMS)), arm_user])
    places = np.concatenate([*(column + number * columns for number in range(len(SUMS))), len(SUMS) * columns + arm])
    data = np.concatenate([values.ravel(), np.ones(arm.size)])
    return scipy.sparse.csr_matrix((data, (rows, places)), shape=(users, len(SUMS) * columns + arms))


def measures(sums: np.ndarray, replays: int, arms: int, industries: int, seed: int) -> dict[str, np.ndarray]:
    """Computes GMV, orders and spend per 1,000 users of the arm, and ROI, as means over trainings.

    With several trainings, those of each arm are also resampled with each resample of the users.

    Args:
        sums: float64 [1 + samples, columns], result of `totals` for `amounts`.
        replays: number of trainings of each arm.
        arms: number of arms, M.
        industries: number of industries, G.
        seed: random seed of the resampled trainings.

    Returns:
        float64 [1 + samples, M, 1 + G] by measure, with all industries first; NaN if undefined.
    """
    rows = sums.shape[0]
    users = sums[:, None, -arms:, None]
    amounts = sums[:, :-arms].reshape(rows, len(SUMS), replays, arms, industries)
    amounts = np.concatenate([amounts.sum(axis=-1, keepdims=True), amounts], axis=-1)
    drawn = np.random.default_rng([seed, 1]).integers(replays, size=(rows, 1, replays, arms, 1))
    drawn[0] = np.arange(replays)[:, None, None]
    amounts = np.take_along_axis(amounts, drawn, axis=2).mean(axis=2)
    gmv, spend = amounts[:, 0], amounts[:, 2]
    roi = np.divide(gmv, spend, out=np.full(gmv.shape, np.nan), where=spend > 0)
    per_user = np.divide(1000 * amounts, users, out=np.full(amounts.shape, np.nan), where=users > 0)
    return {name: per_user[:, number] for number, name in enumerate(SUMS)} | {"roi": roi}


def summarize(by_measure: dict[str, np.ndarray], base: int, arms: Sequence[str], industries: Sequence[str]) -> dict:
    """Summarizes measures and their differences to an arm, with 95% percentile intervals over the resamples.

    Args:
        by_measure: result of `measures`.
        base: index of the arm that the others are compared with.
        arms: names of arms.
        industries: names of industries.

    Returns:
        By arm, then by industry (`all` first), then by measure: `{"value", "low", "high", "lift", "lift_low",
        "lift_high"}`, where lift is value / value of the base arm − 1. Null if undefined.
    """
    summary: dict[str, Any] = {arm: {name: {} for name in (ALL, *industries)} for arm in arms}
    for measure, values in by_measure.items():
        relative = lifts(values, base)
        ends, lift_ends = interval(values[1:]), interval(relative[1:])
        for i, arm in enumerate(arms):
            for j, industry in enumerate((ALL, *industries)):
                cells = {"value": values[0, i, j], "low": ends[0][i, j], "high": ends[1][i, j]}
                cells |= {"lift": relative[0, i, j], "lift_low": lift_ends[0][i, j], "lift_high": lift_ends[1][i, j]}
                numbers = {name: None if np.isnan(cell) else float(cell) for name, cell in cells.items()}
                summary[arm][industry][measure] = numbers
    return summary
