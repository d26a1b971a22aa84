import numpy as np
import pandas as pd
import pytest

from features.spec import INT64_MISSING
from pipelines.config.evaluation import EvaluationConfig, GrowthConfig
from pipelines.evaluate.slices import by_bounds, by_count, by_quantiles, make_slices, slice_by

LABEL = np.array([0, 0, 1, 0.5, 1, 0.2, 1])


def chosen(found):
    return {part.name: np.flatnonzero(part.chosen).tolist() for part in found}


def parts(values, name, min_positives=0):
    return chosen(slice_by(pd.Series(values, name=name), LABEL, min_positives))


def test_a_path_length_is_its_positives_and_all_negatives():
    expected = {"1 click": [0, 1, 2], "2 clicks": [0, 1, 3], "3 clicks": [0, 1, 4], "4 or more": [0, 1, 5, 6]}
    assert parts([0, 0, 1, 2, 3, 4, 9], "path_length") == expected
    assert parts([0, 0, 1, 2, 3, 4, 9], "path_length", 2) == {"4 or more": [0, 1, 5, 6]}


def test_values_come_by_frequency_and_missing_ones_together():
    assert list(parts(["b", "a", "a", "", "a", "b", "c"], "shop").items()) == [
        ("a", [1, 2, 4]),
        ("b", [0, 5]),
        ("(missing)", [3]),
        ("c", [6]),
    ]
    assert parts([7, 7, INT64_MISSING, 8, 8, 7, 8], "hour", 2) == {"8": [3, 4, 6]}


def test_counts_and_bounds_divide_where_they_say():
    assert chosen(by_count(np.array([0, 1, 2, 3, 4, 9, -1]), (1, 2, 4))) == {
        "none": [0, 6],
        "1": [1],
        "2 to 3": [2, 3],
        "4 or more": [4, 5],
    }
    assert chosen(by_bounds(np.array([0.5, 1, 1.9, 2, np.nan]), (1, 2), " d")) == {
        "under 1 d": [0],
        "1 to 2 d": [1, 2],
        "2 d or more": [3],
    }


def test_names_tell_bounds_apart_that_four_digits_do_not():
    prices = 1_000_000 + 100.0 * np.arange(5)
    names = ["under 1.0001e+06", "1.0001e+06 to 1.0002e+06", "1.0002e+06 to 1.0003e+06", "1.0003e+06 or more"]
    assert list(chosen(by_bounds(prices, (1_000_100, 1_000_200, 1_000_300)))) == names
    assert list(chosen(by_count(np.array([0, 2, 3]), (2, 3)))) == ["under 2", "2", "3 or more"]


def test_quantiles_are_of_equal_mass_where_values_differ():
    found = chosen(by_quantiles(np.array([4.0, 3, 2, 1, np.nan, 8, 7, 6, 5]), 4))
    assert found == {"under 2": [3], "2 to 4": [1, 2], "4 to 6": [0, 8], "6 or more": [5, 6, 7], "(missing)": [4]}
    assert chosen(by_quantiles(np.array([0.0, 0, 0, 0, 5]), 4)) == {"all values": [0, 1, 2, 3, 4]}
    assert chosen(by_quantiles(np.array([0.0, 0, 3, 5]), 4)) == {"under 3": [0, 1], "3 or more": [2, 3]}
    assert chosen(by_quantiles(np.array([np.nan]), 4)) == {"all values": [], "(missing)": [0]}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("path_length", [0, 0, 1, 2, 3, 4, 9], {"4 or more": [0, 1, 5, 6]}),
        ("information_gain", [0, 1, 1, 1, 1, 5, 0], {"1": [1, 2, 3, 4]}),
        ("click_age", [0.5, 0.5, 1, 3, 3, 9, 9], {"2 to 4 d": [3, 4], "7 d or more": [5, 6]}),
        ("price", [1.0, 2, 3, 4, 5, 6, 7], {"4 or more": [3, 4, 5, 6]}),
        ("place", list("cbbbaac"), {"b": [1, 2, 3]}),
        ("place", list("bbbaaac"), {"a": [3, 4, 5]}),
    ],
)
def test_an_evaluation_slices_by_name_and_kind_and_leaves_out_small_ones(name, values, expected):
    config = EvaluationConfig(min_positives=2, quantiles=2, top_values=1)
    assert chosen(make_slices(pd.Series(values, name=name), LABEL, config)) == expected


def test_positives_of_a_path_length_grow_by_its_own_clicks():
    """All negatives under last stand beside it, and linear's positives of other lengths are among them."""
    labels = {"last": np.array([0, 1, 0, 1.0]), "linear": np.array([0.5, 0.5, 0, 1])}
    found = slice_by(pd.Series([2, 2, 0, 1], name="path_length"), labels["last"], 1)
    assert {part.name: part.growth(labels, GrowthConfig()) for part in found} == {"1 click": 1, "2 clicks": 2}
    (every,) = by_quantiles(np.zeros(4), 2)
    assert every.growth(labels, GrowthConfig()) == 1.5
    assert every.growth({"last": np.zeros(4), "linear": np.ones(4)}, GrowthConfig()) is None
    assert every.growth({"last": labels["last"]}, GrowthConfig()) is None
