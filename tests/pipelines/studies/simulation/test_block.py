"""What happens in the market agrees with the formulas of docs/simulation.md."""

import dataclasses

import numpy as np
import pytest

from features.time_units import SECONDS_PER_DAY
from pipelines.studies.simulation import block as blocks
from pipelines.studies.simulation.block import simulate
from pipelines.studies.simulation.config import load
from pipelines.studies.simulation.world import World
from tests.support.market import MARKET, WINDOW


def arrays(block):
    parts = (block.users, block.interests, block.clicks, block.conversions)
    return [np.asarray(value) for part in parts for value in dataclasses.asdict(part).values()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def test_the_seed_decides_all(config, world, block):
    assert same(simulate(config, world, 0), block)
    other = load(MARKET, ["users=5000", "clicks=50000", "seed=18"])
    assert not np.array_equal(simulate(other, World(other), 0).clicks.time, block.clicks.time)


def test_a_block_does_not_depend_on_the_others(block):
    larger = load(MARKET, ["users=10000", "clicks=100000"])
    assert same(simulate(larger, World(larger), 0), block)
    assert not np.array_equal(simulate(larger, World(larger), 1).clicks.time, block.clicks.time)


def test_clicks_are_as_many_as_configured(config, block):
    assert block.clicks.time.size == pytest.approx(config.clicks, rel=0.05)
    bot = block.users.group[block.clicks.user] == len(config.groups)
    assert bot.mean() == pytest.approx(0.05, abs=0.02)


def test_clicks_and_interests_cause_as_many_conversions_as_their_hazards_say(config, world, block):
    for parents, decays, parent in (
        (block.clicks, world.carry_over, block.conversions.click),
        (block.interests, world.interest, block.conversions.interest),
    ):
        decay = decays[world.product_industry[parents.product]]
        expected = parents.mean / decay * world.season.integral(parents.time, decay, world.end - parents.time)
        caused = np.bincount(parent[parent >= 0], minlength=expected.size)
        assert caused.sum() == pytest.approx(expected.sum(), abs=4 * np.sqrt(expected.sum()))
        by_size = np.digitize(expected, np.quantile(expected, [0.5, 0.8, 0.95]))
        for part in range(4):
            mean, found = expected[by_size == part].sum(), caused[by_size == part].sum()
            assert found == pytest.approx(mean, abs=4 * np.sqrt(mean))


def test_causes_come_before_what_they_cause_and_fade_by_the_industry(world, block):
    found = block.conversions
    by_click = found.click >= 0
    click = found.click[by_click]
    assert (block.clicks.user[click] == found.user[by_click]).all()
    assert (block.clicks.product[click] == found.product[by_click]).all()
    delay = found.time[by_click] - block.clicks.time[click]
    assert delay.min() >= 0
    # In units of τ delays are about exponential with mean 1; the season and the logs' end change little.
    assert np.mean(delay / world.carry_over[world.product_industry[found.product[by_click]]]) == pytest.approx(
        1, abs=0.2
    )
    interest = found.interest[~by_click]
    assert (found.time[~by_click] >= block.interests.time[interest]).all()


def test_bots_click_and_never_buy(config, block, known):
    bots = np.flatnonzero(block.users.group == len(config.groups))
    theirs = np.isin(block.clicks.user, bots)
    assert bots.size and theirs.sum() / bots.size > 3 * (~theirs).sum() / block.users.group.size
    assert not np.isin(block.conversions.user, bots).any()
    assert not known.p_conversion[theirs].any() and not known.credit[theirs].any()
    assert known.p_conversion[~theirs].all()


def test_users_and_ads_are_new_over_time(config, world, block):
    clicks, week = block.clicks, block.clicks.time // (7 * SECONDS_PER_DAY)
    for column in (clicks.user, clicks.ad):
        seen = np.zeros(0, np.int64)
        for number in range(4):
            now = np.unique(column[week == number])
            assert np.isin(now, seen, invert=True).mean() > 0.1
            seen = np.union1d(seen, now)
    assert (clicks.time >= block.users.arrival[clicks.user].astype(np.int64)).all()
    begun = world.ad(np.zeros(2, np.int64), np.array([0, 20 * SECONDS_PER_DAY]))
    assert not np.intersect1d(begun[0], begun[1]).size
    running = world.ad(clicks.product * len(config.channels) + clicks.channel, clicks.time)
    assert (running == clicks.ad[:, None]).any(axis=1).all()


def test_long_consideration_makes_long_paths(config, world, block):
    names = [i.name for i in config.industries]
    found, clicks = block.conversions, block.clicks
    length = [
        (
            (clicks.user == user) & (clicks.product == product) & (clicks.time <= time) & (time - clicks.time <= WINDOW)
        ).sum()
        for user, product, time in zip(found.user, found.product, found.time, strict=True)
    ]
    length = np.array(length)
    industry = world.product_industry[found.product]
    mean = {name: length[(industry == code) & (length > 0)].mean() for code, name in enumerate(names)}
    assert mean["food"] < mean["fashion"] < mean["travel"]
    assert mean["food"] < 1.6 and mean["travel"] > 2.0


def test_retargeting_is_confounded(config, block):
    clicks, channels = block.clicks, [c.name for c in config.channels]
    retargeted = clicks.channel == channels.index("retargeting")
    intent = block.users.intent[clicks.user]
    assert intent[retargeted].mean() > 1.4 * intent[~retargeted].mean()
    human = block.users.group[clicks.user] < len(config.groups)
    assert clicks.mean[retargeted & human].mean() < 0.5 * clicks.mean[~retargeted & human].mean()
    # Nobody is retargeted before their first click on the product.
    first = np.ones(clicks.user.size, bool)
    first[1:] = (np.diff(clicks.user) != 0) | (np.diff(clicks.product) != 0)
    assert not (retargeted & first).any() and retargeted.any()


def test_activity_follows_hours_and_weekdays(config, block):
    human = block.users.group[block.clicks.user] < len(config.groups)
    hour = np.bincount(block.clicks.time[human] // 3600 % 24, minlength=24)
    assert hour[20] > 4 * hour[3]
    weekday = np.bincount(block.clicks.time[human] // SECONDS_PER_DAY % 7, minlength=7)  # the market starts on a Monday
    assert weekday[6] > weekday[:3].max()


def test_blocks_are_sized_by_clicks(monkeypatch):
    assert blocks.users_per_block(load(MARKET)) == 5000
    assert blocks.users_per_block(load(MARKET, ["users=10", "clicks=1000000"])) == 1
