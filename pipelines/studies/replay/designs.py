"""Who plays which auctions: every arm all of them, or each arm those of its own users."""

import dataclasses

import numpy as np

from features.time_units import SECONDS_PER_DAY
from pipelines.studies.replay.auction import MICROS, Played, play, uniform
from pipelines.studies.replay.config import Pacing
from pipelines.studies.replay.opportunities import Opportunities


@dataclasses.dataclass(frozen=True)
class Market:
    """The auctions of all arms, before it is said who plays them: N clicks, A advertisers.

    Attributes:
        clicks: what is on sale.
        price: int64 [N], the competing bids, in micros.
        budget: int64 [A, days], of each advertiser for all users, in micros.
        plan: float64 [slots per day], the share of a day's prices in each slot, over all days and advertisers.
        pacing: of the budgets.
    """

    clicks: Opportunities
    price: np.ndarray
    budget: np.ndarray
    plan: np.ndarray
    pacing: Pacing


def market(clicks: Opportunities, price: np.ndarray, share: float, pacing: Pacing) -> Market:
    """Sets the budgets, a share of what all of an advertiser's clicks of a day would cost; arguments as in `Market`."""
    day, slot = clicks.second // SECONDS_PER_DAY, clicks.second // (60 * pacing.slot_minutes)
    days, advertisers = int(day.max()) + 1, int(clicks.advertiser.max()) + 1
    total = np.zeros((advertisers, days), np.int64)
    np.add.at(total, (clicks.advertiser, day), price)
    plan = np.bincount(slot % pacing.slots_per_day, price, pacing.slots_per_day)
    return Market(clicks, price, np.floor(share * total).astype(np.int64), plan / plan.sum(), pacing)


@dataclasses.dataclass(frozen=True)
class Design:
    """Who plays what: K plays, in the order of slot, account and time. Account = arm · advertisers + advertiser.

    Attributes:
        member: bool [M, U], whether a user is one of an arm's.
        click: int64 [K], which of the clicks.
        arm: int64 [K].
    """

    member: np.ndarray
    click: np.ndarray
    arm: np.ndarray


def paired(on: Market, arms: int) -> Design:
    """Every arm plays all users' auctions, against the same competing bids, with the whole budget of each advertiser."""
    return _design(on, np.ones((arms, on.clicks.users.size), bool))


def split(on: Market, arms: int, seed: int, which: str) -> Design:
    """Each user belongs to one arm, by a hash of the id, and each arm has its users' share of every budget.

    Args:
        on: the market.
        arms: how many.
        seed: of the replay.
        which: of the splits that the seed gives.
    """
    share = uniform(seed, f"split {which}", on.clicks.users)
    return _design(on, (share * arms).astype(np.int64) == np.arange(arms)[:, None])


def _design(on: Market, member: np.ndarray) -> Design:
    clicks = on.clicks
    arm, click = np.nonzero(member[:, clicks.user])
    slot = clicks.second[click] // (60 * on.pacing.slot_minutes)
    order = np.lexsort((click, clicks.advertiser[click], arm, slot))
    return Design(member, click[order], arm[order])


def run(on: Market, design: Design, rates: np.ndarray) -> tuple[Played, np.ndarray]:
    """Plays a design.

    Args:
        on: the market.
        design: who plays what.
        rates: float64 [M, N], what each arm takes each click's conversion rate to be.

    Returns:
        What came of it, by play and account, and the accounts' budgets, int64 [M · A, days].
    """
    clicks, advertisers = on.clicks, on.budget.shape[0]
    share = design.member.mean(axis=1)
    budget = np.floor(share[:, None, None] * on.budget).astype(np.int64).reshape(-1, on.budget.shape[1])
    played = play(
        clicks.second[design.click] // (60 * on.pacing.slot_minutes),
        design.arm * advertisers + clicks.advertiser[design.click],
        MICROS * rates[design.arm, design.click] * clicks.value[design.click],
        on.price[design.click],
        budget,
        on.plan,
        on.pacing,
    )
    return played, budget
