"""Second-price auctions under daily budgets with adaptive pacing, vectorized over accounts; docs/replay.md has the formulas.

Money is counted in whole millionths (micros) of the unit of values, so that sums are exact and rounding exceeds no budget.
"""

import dataclasses

import numpy as np
import pandas as pd
import scipy.special

from pipelines.studies.replay.config import Pacing, Prices

MICROS = 1_000_000

#: Limit of the change of a multiplier's logarithm in a slot, as a slot without demand or an expensive click says little.
_MAX_LOG_CHANGE = np.log(2)


def uniform(seed: int, purpose: str, ids: np.ndarray) -> np.ndarray:
    """Hashes ids to numbers uniformly distributed in (0, 1).

    Args:
        seed: random seed of the replay.
        purpose: text that makes numbers for different purposes independent.
        ids: object [N], text.

    Returns:
        float64 [N], which depend only on the seed, the purpose and the id.
    """
    hashed = pd.util.hash_array((f"{seed}/{purpose}/" + ids).astype(object), categorize=False)
    return ((hashed >> np.uint64(11)) + 0.5) / 2**53


def competing_bids(
    value: np.ndarray, orders: np.ndarray, industry: np.ndarray, noise: np.ndarray, prices: Prices
) -> np.ndarray:
    """Computes the highest competing bid for each click, int64 [N], in micros, at least 1.

    Args:
        value: float64 [N], value of an order.
        orders: float64 [N], true number of orders that the click causes.
        industry: int64 [N], code of the industry.
        noise: float64 [N], uniformly distributed in (0, 1).
        prices: parameters of the competition.
    """
    rate = np.bincount(industry, orders) / np.maximum(np.bincount(industry), 1)
    spread = np.exp(prices.spread * scipy.special.ndtri(noise) - prices.spread**2 / 2)
    price = np.maximum(prices.level * value * rate[industry] * spread, prices.reserve)
    return np.maximum(np.rint(MICROS * price), 1).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Played:
    """The outcome of K auctions of A accounts.

    Attributes:
        bought: bool [K], whether the click was bought.
        spent: int64 [A, days], spend in micros.
        pace: float64 [slots + 1, A], the bid multiplier in each slot, and after the last one.
    """

    bought: np.ndarray
    spent: np.ndarray
    pace: np.ndarray


def play(
    slot: np.ndarray,
    account: np.ndarray,
    bid: np.ndarray,
    price: np.ndarray,
    budget: np.ndarray,
    plan: np.ndarray,
    pacing: Pacing,
) -> Played:
    """Plays auctions slot by slot, with accounts independent of each other.

    In each auction, the account bids multiplier · `bid`, wins if that reaches the competing bid, and pays the competing bid.
    Within a slot it buys the clicks that it wins in the given order, up to the first one that exceeds the rest of the day's
    budget. After the slot its multiplier changes according to `Pacing`, where the wanted spend is the cost of all its wins,
    bought or not.

    Args:
        slot: int64 [K], ascending.
        account: int64 [K], ascending within a slot.
        bid: float64 [K], at a multiplier of 1, in micros.
        price: int64 [K], the competing bids, in micros.
        budget: int64 [A, days], micros.
        plan: float64 [slots per day], share of a day's budget to spend in each slot; sums to 1.
        pacing: parameters of the pacing.
    """
    accounts, days = budget.shape
    bounds = np.searchsorted(slot, np.arange(days * plan.size + 1))
    account_bounds = np.arange(accounts + 1)
    bought, pace = np.zeros(slot.size, bool), np.full((bounds.size, accounts), pacing.first)
    left = budget.copy()
    for number in range(bounds.size - 1):
        day, within = divmod(number, plan.size)
        part = slice(bounds[number], bounds[number + 1])
        who, now = account[part], pace[number]
        wins = now[who] * bid[part] >= price[part]
        total = np.append(0, np.cumsum(price[part] * wins))
        ends = total[np.searchsorted(who, account_bounds)]
        bought[part] = wins & (total[1:] - ends[who] <= left[who, day])
        left[:, day] -= _sums(price[part] * bought[part], who, account_bounds)
        wanted = np.divide(np.diff(ends), budget[:, day], out=np.zeros(accounts), where=budget[:, day] > 0)
        change = np.where(budget[:, day] > 0, pacing.gain * (plan[within] - wanted), 0.0)
        pace[number + 1] = np.minimum(now * np.exp(np.clip(change, -_MAX_LOG_CHANGE, _MAX_LOG_CHANGE)), pacing.highest)
    return Played(bought, budget - left, pace)


def _sums(amount: np.ndarray, account: np.ndarray, account_bounds: np.ndarray) -> np.ndarray:
    """Sums amounts exactly by account, int64 [A]; `account` must be ascending."""
    return np.diff(np.append(0, np.cumsum(amount))[np.searchsorted(account, account_bounds)])
