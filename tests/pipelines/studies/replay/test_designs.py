import dataclasses

import numpy as np
import pytest

from features.time_units import SECONDS_PER_DAY
from pipelines.studies.replay import designs


def test_budgets_and_plan_follow_the_prices_of_the_clicks(clicks, market):
    first = clicks.second < SECONDS_PER_DAY
    ours = clicks.advertiser == 3
    assert market.budget[3].tolist() == [int(0.2 * market.price[ours & day].sum()) for day in (first, ~first)]
    morning = clicks.second % SECONDS_PER_DAY < 3600
    assert market.plan[0] == pytest.approx(market.price[morning].sum() / market.price.sum())
    assert market.plan.sum() == pytest.approx(1)


def test_a_split_gives_each_user_to_one_arm_whoever_else_is_there(clicks, market):
    member = designs.split(market, 3, 5, "a").member
    assert (member.sum(axis=0) == 1).all()
    assert member.mean(axis=1) == pytest.approx([1 / 3] * 3, abs=0.03)
    some = dataclasses.replace(
        market, clicks=dataclasses.replace(clicks, users=clicks.users[:100], user=clicks.user % 100)
    )
    assert (designs.split(some, 3, 5, "a").member == member[:, :100]).all()
    for other in (designs.split(market, 3, 6, "a"), designs.split(market, 3, 5, "b")):
        assert (other.member & member).sum() == pytest.approx(clicks.users.size / 3, rel=0.1)


def test_plays_are_all_clicks_of_the_members_in_order(clicks, market):
    for design in (designs.paired(market, 3), designs.split(market, 3, 5, "a")):
        assert design.member[design.arm, clicks.user[design.click]].all()
        assert design.click.size == design.member[:, clicks.user].sum()
        keys = (clicks.second[design.click] // 3600, design.arm, clicks.advertiser[design.click], design.click)
        assert (np.lexsort(keys[::-1]) == np.arange(design.click.size)).all()


def test_arms_of_a_split_share_the_budgets_and_cannot_exceed_them(clicks, market):
    played, budget = designs.run(market, designs.split(market, 4, 5, "a"), np.tile(clicks.orders, (4, 1)))
    per_arm = budget.reshape(4, *market.budget.shape)
    assert (per_arm.sum(axis=0) <= market.budget).all()
    assert (per_arm.sum(axis=0) >= market.budget - 4).all()
    assert (played.spent <= budget).all()


def test_an_arm_plays_alike_whoever_plays_beside_it_and_twice_the_same(clicks, market):
    guess = np.full(clicks.orders.size, 0.03)
    alone, _ = designs.run(market, designs.paired(market, 1), clicks.orders[None])
    design = designs.paired(market, 3)
    beside, _ = designs.run(market, design, np.array([guess, clicks.orders, clicks.orders]))
    of_arms = [beside.bought[design.arm == arm] for arm in range(3)]
    assert (of_arms[1] == alone.bought).all()
    assert (of_arms[1] == of_arms[2]).all()
    assert (of_arms[1] != of_arms[0]).any()


def test_who_knows_the_truth_gets_most_for_the_same_budget(clicks, market):
    """Against a constant rate, and against the truth blurred more and more."""
    random = np.random.default_rng(1)
    blurred = [clicks.orders * random.lognormal(0, spread, clicks.orders.size) for spread in (0, 0.5, 1)]
    rates = np.array([*blurred, np.full(clicks.orders.size, 0.1)])
    design = designs.paired(market, len(rates))
    played, _ = designs.run(market, design, rates)
    worth = clicks.orders * clicks.value
    gmv = np.bincount(design.arm, worth[design.click] * played.bought)
    spent = played.spent.reshape(len(rates), -1).sum(axis=1)
    assert spent == pytest.approx([spent.mean()] * len(rates), rel=0.03)
    assert (np.diff(gmv) < -0.03 * gmv[:-1]).all()
