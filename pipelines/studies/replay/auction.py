"""Second-price auctions under daily budgets with adaptive pacing, all accounts at once. docs/replay.md has the formulas.

Money is counted in whole millionths of the unit of values, so that sums are exact and no budget is exceeded by rounding.
"""

import dataclasses

import numpy as np
import pandas as pd
import scipy.special

from pipelines.studies.replay.config import Pacing, Prices

MICROS = 1_000_000

#: In one slot a multiplier is halved or doubled at most: a slot without demand, or one dear click, says little.
_MOST = np.log(2)


def uniform(seed: int, what: str, ids: np.ndarray) -> np.ndarray:
    """Numbers evenly spread over (0, 1) that depend on the seed, on what they are for, and on each id's text alone.

    Args:
        seed: of the replay.
        what: they are for.
        ids: object [N], text.

    Returns:
        float64 [N].
    """
    hashed = pd.util.hash_array((f"{seed}/{what}/" + ids).astype(object), categorize=False)
    return ((hashed >> np.uint64(11)) + 0.5) / 2**53


def competing(
    value: np.ndarray, orders: np.ndarray, industry: np.ndarray, noise: np.ndarray, prices: Prices
) -> np.ndarray:
    """The highest competing bid for each click, int64 [N], in micros, at least 1.

    Args:
        value: float64 [N].
        orders: float64 [N], true.
        industry: int64 [N].
        noise: float64 [N], evenly spread over (0, 1).
        prices: of the competition.
    """
    rate = np.bincount(industry, orders) / np.maximum(np.bincount(industry), 1)
    spread = np.exp(prices.spread * scipy.special.ndtri(noise) - prices.spread**2 / 2)
    price = np.maximum(prices.level * value * rate[industry] * spread, prices.reserve)
    return np.maximum(np.rint(MICROS * price), 1).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Played:
    """What came of K auctions of A accounts.

    Attributes:
        bought: bool [K].
        spent: int64 [A, days], micros.
        pace: float64 [slots + 1, A], the multiplier in each slot, and after the last.
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
    """Plays auctions slot by slot; accounts know nothing of each other.

    In each, the account bids multiplier · `bid`, wins if that reaches the competing bid, and pays the competing bid.
    Within a slot it buys what it wins in the given order, up to the first click that the rest of the day's budget does not
    pay for. After the slot its multiplier changes as `Pacing` says: what it wanted is what its wins would have cost,
    bought or not.

    Args:
        slot: int64 [K], ascending.
        account: int64 [K], ascending within a slot.
        bid: float64 [K], at a multiplier of 1, in micros.
        price: int64 [K], the competing bids, in micros.
        budget: int64 [A, days], micros.
        plan: float64 [slots per day], share of a day's budget to spend in each slot; sums to 1.
        pacing: of the budgets.
    """
    accounts, days = budget.shape
    bounds = np.searchsorted(slot, np.arange(days * plan.size + 1))
    everyone = np.arange(accounts + 1)
    bought, pace = np.zeros(slot.size, bool), np.full((bounds.size, accounts), pacing.first)
    left = budget.copy()
    for number in range(bounds.size - 1):
        day, within = divmod(number, plan.size)
        part = slice(bounds[number], bounds[number + 1])
        who, now = account[part], pace[number]
        wins = now[who] * bid[part] >= price[part]
        total = np.append(0, np.cumsum(price[part] * wins))
        ends = total[np.searchsorted(who, everyone)]
        bought[part] = wins & (total[1:] - ends[who] <= left[who, day])
        left[:, day] -= _sums(price[part] * bought[part], who, everyone)
        wanted = np.divide(np.diff(ends), budget[:, day], out=np.zeros(accounts), where=budget[:, day] > 0)
        change = np.where(budget[:, day] > 0, pacing.gain * (plan[within] - wanted), 0.0)
        pace[number + 1] = np.minimum(now * np.exp(np.clip(change, -_MOST, _MOST)), pacing.highest)
    return Played(bought, budget - left, pace)


def _sums(amount: np.ndarray, who: np.ndarray, everyone: np.ndarray) -> np.ndarray:
    """Exact sums by account, int64 [A]; `who` ascends."""
    return np.diff(np.append(0, np.cumsum(amount))[np.searchsorted(who, everyone)])
