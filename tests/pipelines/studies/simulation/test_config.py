"""Entries that stand for many, and intents that differ between a user's interests."""

import numpy as np
import pytest

from features.errors import MalTfError
from pipelines.studies.simulation.block import simulate
from pipelines.studies.simulation.config import load
from pipelines.studies.simulation.world import World
from tests.support.market import MARKET

LONG = "examples/simulation/long_journeys.yaml"
SMALL = ["users=3000", "clicks=30000"]


def test_one_entry_stands_for_many_whose_keys_go_evenly_from_end_to_end():
    config = load(MARKET, ["channels=[{name: place, count: 11, share: 2, effect: 1, intent_exponent: [-1, 1]}]"])
    assert [channel.name for channel in config.channels[:2]] == ["place_00", "place_01"]
    assert [channel.intent_exponent for channel in config.channels] == pytest.approx(np.linspace(-1, 1, 11))
    assert {channel.share for channel in config.channels} == {2}


@pytest.mark.parametrize("count", ["0", "-1", "2.5", "true", "many"])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(MalTfError, match="count: expected a whole number from 1, found"):
        load(MARKET, [f"channels=[{{name: place, count: {count}, share: 1, effect: 1}}]"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("channels.0.effect=-1", r"channels.399.effect: Input should be greater than or equal to 0"),
        ("channels.0.nonsense=3", r"channels.399: unknown key 'nonsense'"),
        ("industries.0.share=-1", r"industries.7.share: Input should be greater than 0"),
    ],
)
def test_a_wrong_value_of_a_counted_entry_is_named(override, message):
    with pytest.raises(MalTfError, match=message):
        load(LONG, [override])


def test_intents_of_interests_have_the_users_mean_and_do_not_move_what_comes_before_them():
    same, varied = (load(MARKET, [*SMALL, f"interest_intent_spread={spread}"]) for spread in (0, 0.8))
    one, other = (simulate(config, World(config), 0) for config in (same, varied))
    np.testing.assert_array_equal(one.interests.time, other.interests.time)
    np.testing.assert_array_equal(one.interests.intent, one.users.intent[one.interests.user])
    ratio = other.interests.intent / one.interests.intent
    assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / np.sqrt(ratio.size))
    assert np.log(ratio).std() == pytest.approx(0.8, rel=0.05)
    np.testing.assert_allclose(other.interests.mean, one.interests.mean * ratio)


def test_placement_and_ad_tell_of_the_intent_behind_a_click():
    config = load(LONG, SMALL)
    world = World(config)
    block = simulate(config, world, 0)
    exponent = np.array([channel.intent_exponent for channel in config.channels])[block.clicks.channel]
    buys = np.isin(  # Clicks of a user for a product that the user buys.
        block.clicks.user * 1000 + block.clicks.product, block.conversions.user * 1000 + block.conversions.product
    )
    for tells in (exponent, world.intent_exponent[block.clicks.ad]):
        difference = tells[buys].mean() - tells[~buys].mean()
        assert difference > 3 * tells.std() * np.sqrt(1 / buys.sum() + 1 / (~buys).sum())


def test_ads_alike_by_default():
    config = load(MARKET, SMALL)
    assert not World(config).intent_exponent.any()
