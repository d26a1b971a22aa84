"""Designs of the replay, in which either every arm plays all auctions or each arm those of its own users."""

import dataclasses

import numpy as np

from features.time_units import SECONDS_PER_DAY
from pipelines.studies.replay.auction import MICROS, Played, play, uniform
from pipelines.studies.replay.config import Pacing
from pipelines.studies.replay.opportunities import Opportunities


@dataclasses.dataclass(frozen=True)
class Market:
    """N clicks on sale to A advertisers, with prices and budgets that are the same for all designs.

    Attributes:
        clicks: the clicks on sale.
        price: int64 [N], the competing bids, in micros.
        budget: int64 [A, days], daily budgets of each advertiser for all users, in micros.
        plan: float64 [slots per day], share of a day's prices in each slot, over all days and advertisers.
        pacing: parameters of the pacing.
    """

    clicks: Opportunities
    price: np.ndarray
    budget: np.ndarray
    plan: np.ndarray
    pacing: Pacing


def market(clicks: Opportunities, price: np.ndarray, share: float, pacing: Pacing) -> Market:
    """Creates a market in which an advertiser's daily budget is a share of the cost of all its clicks of the day.

    Args:
        clicks: the clicks on sale.
        price: int64 [N], the competing bids, in micros.
        share: share of the cost.
        pacing: parameters of the pacing.
    """
    day, slot = clicks.second // SECONDS_PER_DAY, clicks.second // (60 * pacing.slot_minutes)
    days, advertisers = int(day.max()) + 1, int(clicks.advertiser.max()) + 1
    total = np.zeros((advertisers, days), np.int64)
    np.add.at(total, (clicks.advertiser, day), price)
    plan = np.bincount(slot % pacing.slots_per_day, price, pacing.slots_per_day)
    return Market(clicks, price, np.floor(share * total).astype(np.int64), plan / plan.sum(), pacing)


@dataclasses.dataclass(frozen=True)
class Design:
    """An assignment of clicks to arms as K plays, ordered by slot, account and time. Account = arm · advertisers + advertiser.

    Attributes:
        member: bool [M, U], whether a user belongs to an arm.
        click: int64 [K], index of the click of each play.
        arm: int64 [K], index of the arm of each play.
    """

    member: np.ndarray
    click: np.ndarray
    arm: np.ndarray


def paired(market: Market, arms: int) -> Design:
    """Returns the design in which every arm plays the auctions of all users with the whole budget of each advertiser."""
    return _design(market, np.ones((arms, market.clicks.users.size), bool))


def split(market: Market, arms: int, seed: int, name: str) -> Design:
    """Returns a design in which each user belongs to one arm, by a hash of the id, with budgets split in proportion.

    Args:
        market: the market.
        arms: number of arms.
        seed: random seed of the replay.
        name: name of the split, which makes splits with one seed independent.
    """
    share = uniform(seed, f"split {name}", market.clicks.users)
    return _design(market, (share * arms).astype(np.int64) == np.arange(arms)[:, None])


def _design(market: Market, member: np.ndarray) -> Design:
    clicks = market.clicks
    arm, click = np.nonzero(member[:, clicks.user])
    slot = clicks.second[click] // (60 * market.pacing.slot_minutes)
    order = np.lexsort((click, clicks.advertiser[click], arm, slot))
    return Design(member, click[order], arm[order])


def run(market: Market, design: Design, rates: np.ndarray) -> tuple[Played, np.ndarray]:
    """Plays the auctions of a design.

    Args:
        market: the market.
        design: assignment of clicks to arms.
        rates: float64 [M, N], conversion rate of each click as predicted by each arm.

    Returns:
        The outcome by play and account, and the budgets of the accounts, int64 [M · A, days].
    """
    clicks, advertisers = market.clicks, market.budget.shape[0]
    share = design.member.mean(axis=1)
    budget = np.floor(share[:, None, None] * market.budget).astype(np.int64).reshape(-1, market.budget.shape[1])
    played = play(
        clicks.second[design.click] // (60 * market.pacing.slot_minutes),
        design.arm * advertisers + clicks.advertiser[design.click],
        MICROS * rates[design.arm, design.click] * clicks.value[design.click],
        market.price[design.click],
        budget,
        market.plan,
        market.pacing,
    )
    return played, budget
