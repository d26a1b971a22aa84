"""Distances of small tables, worked by hand."""

import pandas as pd
import pytest

from features.errors import MalTfError
from features.spec import FeatureSpec
from pipelines.retrain.distances import DistanceLimits, distances
from pipelines.validate.tfdv import tfdv

SPEC = FeatureSpec(features=({"type": "categorical", "name": "place"}, {"type": "numeric", "name": "price"}))


def statistics(place, price):
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame({"place": place, "price": price}))


def measured(here, there, **limits):
    found = distances(here, there, SPEC, DistanceLimits.model_validate(limits), "today against yesterday")
    return {(one.feature, one.measure): one for one in found}


EVEN = statistics(["a", "b"] * 50, [1.0, 2.0] * 50)


def test_l_infinity_is_the_largest_difference_of_shares():
    found = measured(statistics(["a"] * 80 + ["b"] * 20, [1.0, 2.0] * 50), EVEN, l_infinity=0.25)
    tokens = found["place", "L-infinity distance"]
    assert tokens.value == pytest.approx(0.3)
    assert tokens.anomalous
    assert str(tokens) == "today against yesterday, place: L-infinity distance: 0.3, expected 0 to 0.25"
    assert not any(one.anomalous for key, one in found.items() if key != ("place", "L-infinity distance"))


def test_jensen_shannon_is_0_for_the_same_and_1_for_disjoint_numbers():
    same = measured(EVEN, EVEN)["price", "Jensen-Shannon divergence"]
    assert (same.value, same.high, same.anomalous) == (pytest.approx(0), 0.1, False)
    other = measured(statistics(["a", "b"] * 50, [10.0] * 100), statistics(["a", "b"] * 50, [1.0] * 100))
    assert other["price", "Jensen-Shannon divergence"].value == pytest.approx(1)


def test_int64_tokens_are_compared_as_numbers():
    here, there = (tfdv.generate_statistics_from_dataframe(pd.DataFrame({"place": [n] * 9})) for n in (7, 8))
    assert measured(here, there)["place", "Jensen-Shannon divergence"].value == pytest.approx(1)


def test_presence_is_the_difference_of_shares_also_for_a_feature_that_is_gone():
    half = statistics(["a", "b"] * 25 + [None] * 50, [1.0, 2.0] * 50)
    measure = "difference of the share of clicks that have it"
    assert measured(half, EVEN)["place", measure].value == pytest.approx(0.5)
    gone = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"price": [1.0, 2.0] * 50}))
    for found in (measured(EVEN, gone), measured(gone, EVEN)):
        assert found["place", measure].value == 1
        assert found["place", measure].anomalous
        assert ("place", "L-infinity distance") not in found


def test_new_tokens_are_those_that_the_others_lack():
    """Renamed tokens, each too rare for its share to tell."""
    many = [f"shop{n}" for n in range(50)] * 2
    there = statistics(many, [1.0, 2.0] * 50)
    half = measured(
        statistics([name.upper() if n % 2 else name for n, name in enumerate(many)], [1.0, 2.0] * 50), there
    )
    new = half["place", "share of tokens that are new"]
    assert (new.value, new.anomalous) == (0.5, False)
    assert half["place", "L-infinity distance"].value == pytest.approx(0.02)
    renamed = measured(statistics([name.upper() for name in many], [1.0, 2.0] * 50), there)
    assert [str(one) for one in renamed.values() if one.anomalous] == [
        "today against yesterday, place: share of tokens that are new: 1, expected 0 to 0.5"
    ]


def test_tokens_against_numbers_are_an_anomaly():
    numbers = statistics([1, 2] * 50, [1.0, 2.0] * 50)
    for here, there, types in ((EVEN, numbers, "STRING against INT"), (numbers, EVEN, "INT against STRING")):
        found = [str(one) for one in measured(here, there).values() if one.anomalous]
        assert found == [f"today against yesterday, place: agreement of types, {types}: 0, expected at least 1"]


def test_a_features_own_limits_go_before_the_others():
    here = statistics(["a"] * 80 + ["b"] * 20, [1.0, 2.0] * 50)
    found = measured(here, EVEN, presence=0.2, features={"place": {"l_infinity": 0.5}})
    assert found["place", "L-infinity distance"].high == 0.5
    assert found["place", "difference of the share of clicks that have it"].high == 0.2
    assert not any(one.anomalous for one in found.values())
    unlimited = measured(statistics([None] * 100, [1.0, 2.0] * 50), EVEN, features={"place": None})
    assert not any(one.anomalous for one in unlimited.values())


def test_nothing_to_compare_with_is_an_anomaly_and_nothing_to_compare_is_none():
    nothing = tfdv.generate_statistics_from_dataframe(pd.DataFrame({"place": []}))
    assert [str(one) for one in measured(EVEN, nothing).values()] == [
        "today against yesterday, all features: clicks to compare with: 0, expected at least 1"
    ]
    assert measured(nothing, EVEN) == {}


def test_limits_are_of_known_features():
    with pytest.raises(MalTfError, match="checks.drift.features: unknown feature 'plaice'; there are: place, price"):
        DistanceLimits(features={"plaice": None}).check(SPEC, "checks.drift")
