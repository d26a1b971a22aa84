import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from pipelines.studies.replay.auction import MICROS, competing_bids, play, uniform
from pipelines.studies.replay.config import Pacing, Prices

PLAN = np.array([0.5, 0.5])
PACING = Pacing(slot_minutes=720, gain=2.0)


def test_one_account_two_days_by_hand():
    """A budget of 10 a day; a slot is half a day."""
    plays = [
        # slot, bid, price: what happens
        (0, 5, 4),  # bought
        (0, 3, 3),  # an equal bid wins: bought, 7 spent
        (0, 2, 6),  # lost
        (0, 9, 4),  # won, but 3 are left
        (0, 1, 1),  # would be in reach, but the slot's buying is over
        # It wanted 12 of 10, planned 5: exp(2 · (0.5 − 1.2)) is less than the half, so half.
        (1, 8, 4),  # 8/2 wins; 3 are left
        # Wanted 4: exp(2 · (0.5 − 0.4)) = e^0.2.
        (2, 3, 2),  # 3 · e^0.2 / 2 = 1.83 loses; wanted nothing: twice as much at most
        (3, 3, 2),  # 3 · e^0.2 = 3.66, but no multiplier is above 1: 3 wins
    ]
    slot, bid, price = np.array(plays).T
    played = play(slot, np.zeros(8, int), bid.astype(float), price, np.array([[10, 10]]), PLAN, PACING)
    assert played.bought.tolist() == [True, True, False, False, False, False, False, True]
    assert played.spent.tolist() == [[7, 2]]
    # In the end wanted 2: e^0.6 more, but not above 1.
    assert played.pace[:, 0] == pytest.approx([1, 0.5, 0.5 * np.exp(0.2), 1, 1])


def test_an_account_without_budget_buys_nothing_and_keeps_its_multiplier():
    played = play(np.array([0]), np.array([0]), np.array([9.0]), np.array([1]), np.array([[0], [5]]), PLAN, PACING)
    assert not played.bought.any()
    assert (played.pace[:, 0] == 1).all()


@st.composite
def markets(draw):
    accounts, days, size = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    slot, account = random.integers(2 * days, size=size), random.integers(accounts, size=size)
    order = np.lexsort((account, slot))
    budget = random.integers(0, 40, size=(accounts, days))
    return slot[order], account[order], random.exponential(9, size), random.integers(1, 12, size), budget


@hypothesis.given(markets())
def test_budgets_hold_prices_are_below_bids_and_accounts_do_not_touch_each_other(market):
    slot, account, bid, price, budget = market
    played = play(*market, PLAN, PACING)
    assert (played.spent <= budget).all()
    spent = np.zeros_like(budget)
    np.add.at(spent, (account, slot // 2), price * played.bought)
    assert (spent == played.spent).all()
    assert (price <= played.pace[slot, account] * bid)[played.bought].all()
    assert ((played.pace > 0) & (played.pace <= 1)).all()
    for one in range(len(budget)):
        ours = account == one
        alone = play(slot[ours], np.zeros(ours.sum(), int), bid[ours], price[ours], budget[[one]], PLAN, PACING)
        assert (alone.bought == played.bought[ours]).all()
        assert (alone.pace[:, 0] == played.pace[:, one]).all()


def test_pacing_spends_about_the_plan_where_bids_are_too_high():
    random, days, per_slot = np.random.default_rng(0), 8, 50
    slot = np.repeat(np.arange(24 * days), per_slot)
    price = np.rint(1000 * random.lognormal(0, 0.7, slot.size)).astype(int)
    bid = 1000 * random.lognormal(1, 0.5, slot.size)
    budget = np.full((1, days), int(0.2 * price.sum() / days))
    played = play(slot, np.zeros(slot.size, int), bid, price, budget, np.full(24, 1 / 24), Pacing())
    late = slot >= 24
    of_slot = np.bincount(slot[late] - 24, (price * played.bought)[late]) / (budget[0, 0] / 24)
    assert of_slot.mean() == pytest.approx(1, abs=0.03)
    assert 0.6 < np.quantile(of_slot, 0.1) < np.quantile(of_slot, 0.9) < 1.4


def test_competing_bids_by_hand():
    value, orders, industry = np.array([10.0, 20.0, 5.0]), np.array([0.1, 0.3, 0.0]), np.array([0, 0, 1])
    noise = np.full(3, 0.5)  # the median: exp(−spread² / 2) of the mean
    found = competing_bids(value, orders, industry, noise, Prices(level=2.0, spread=1.0, reserve=0.5))
    median = np.exp(-0.5)
    expected = [2 * 10 * 0.2 * median, 2 * 20 * 0.2 * median, 0.5]
    assert found.tolist() == np.rint(MICROS * np.array(expected)).astype(int).tolist()
    assert competing_bids(value, orders, industry, noise, Prices())[2] == 1  # nothing is free


def test_noise_has_mean_1():
    noise = uniform(3, "price", np.arange(50_000).astype(str).astype(object))
    ones = np.ones(noise.size)
    price = competing_bids(ones, ones, np.zeros(noise.size, int), noise, Prices(spread=0.7)) / MICROS
    assert price.mean() == pytest.approx(1, abs=4 * price.std() / np.sqrt(price.size))


def test_draws_depend_on_id_seed_and_purpose_alone():
    ids = np.array([f"u{n}" for n in range(5000)], object)
    draws = uniform(1, "price", ids)
    assert (uniform(1, "price", ids[::-1]) == draws[::-1]).all()
    assert draws[:2] == pytest.approx(DRAWS, abs=1e-12)  # the same on every machine, in every process
    for other in (uniform(2, "price", ids), uniform(1, "split", ids)):
        assert abs(np.corrcoef(draws, other)[0, 1]) < 0.05
    assert np.quantile(draws, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)


DRAWS = (0.007187719402711734, 0.9147698296700844)
