import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from mal_tf.attribution.catalog import create, register
from mal_tf.attribution.rules import Last
from tests.mal_tf.attribution.logs import LOG, RULES, build, by_hand, eligible, split


def _oracle(name, clicks, mine):
    order = sorted(mine, key=lambda click: (clicks[click][1], click))  # ties by click id
    if name == "linear":
        return {click: 1 / len(mine) for click in mine}
    return {order[0 if name == "first" else -1]: 1.0} if mine else {}


@pytest.mark.parametrize("name", ["first", "last", "linear"])
@given(clicks=LOG, conversions=LOG, rules=RULES)
def test_credits_match_the_oracle(name, clicks, conversions, rules):
    clicks, conversions = sorted(clicks), sorted(conversions)
    journeys = build(clicks, conversions, rules)
    credit = create(name, {}).credit(journeys)
    assert credit.dtype == np.float64
    assert (credit >= 0).all()
    expected = eligible(clicks, conversions, rules)
    for mine, touches, credits in zip(expected, split(journeys, journeys.click), split(journeys, credit), strict=True):
        assert {t: c for t, c in zip(touches, credits, strict=True) if c} == _oracle(name, clicks, mine)
        assert sum(credits) == pytest.approx(1.0 if mine else 0.0)


def _by_age(*ages):
    """Journeys of touches of these ages."""
    journeys = by_hand([["a"] * len(mine) for mine in ages])
    return dataclasses.replace(journeys, age=np.array([age for mine in ages for age in mine], float))


def _by_length(lengths):
    return by_hand([["a"] * n for n in lengths])


def _credits(name, parameters, journeys):
    return split(journeys, create(name, parameters).credit(journeys))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_position_matches_the_oracle(lengths, first, share):
    last = (1 - first) * share
    for n, credits in zip(
        lengths, _credits("position", {"first": first, "last": last}, _by_length(lengths)), strict=True
    ):
        expected = [first, *[(1 - first - last) / max(n - 2, 1)] * (n - 2), last]
        if n == 2:
            expected = [first / (first + last), last / (first + last)] if first + last else [0.5, 0.5]
        assert credits == pytest.approx([1.0] if n == 1 else expected[:n], abs=1e-12)


def test_position_by_default_is_40_20_40():
    found = _credits("position", {}, _by_length([1, 2, 3, 4]))
    assert found == [pytest.approx(e) for e in ([1], [0.5, 0.5], [0.4, 0.2, 0.4], [0.4, 0.1, 0.1, 0.4])]
    assert _credits("position", {"first": 0.6, "last": 0.2}, _by_length([2])) == [pytest.approx([0.75, 0.25])]
    assert _credits("position", {"first": 0, "last": 0}, _by_length([2, 3])) == [[0.5, 0.5], [0, 1, 0]]


@given(LOG, LOG, RULES, st.floats(0.1, 1000))
def test_time_decay_matches_the_oracle(clicks, conversions, rules, half_life):
    clicks, conversions = sorted(clicks), sorted(conversions)
    found = _credits("time_decay", {"half_life_hours": half_life}, build(clicks, conversions, rules))
    for (_, end), mine, credits in zip(conversions, eligible(clicks, conversions, rules), found, strict=True):
        weight = [0.5 ** ((end - clicks[click][1]) / half_life) for click in mine]
        assert credits == pytest.approx([w / sum(weight) for w in weight])


def test_time_decay_of_very_old_clicks():
    # 2^−(age / half-life) itself would be 0 for all of them.
    journeys = _by_age([1e9 + 168, 1e9], [1e12, 0], [])
    assert _credits("time_decay", {}, journeys) == [pytest.approx([1 / 3, 2 / 3]), [0, 1], []]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("position", {"first": -0.1}, "at least 0 and at most 1 together, not -0.1 and 0.4"),
        ("position", {"first": 0.7, "last": 0.4}, "at least 0 and at most 1 together, not 0.7 and 0.4"),
        ("position", {"last": float("nan")}, "at least 0 and at most 1 together, not 0.4 and nan"),
        ("position", {"first": "0.4"}, "'position', __init__: parameter first: expected a number, found '0.4'"),
        ("time_decay", {"half_life_hours": 0}, "'time_decay', __init__: half_life_hours must be above 0, not 0$"),
        ("time_decay", {"half_life_hours": True}, "parameter half_life_hours: expected a number, found True"),
        ("time_decay", {"half_life_hours": None}, "parameter half_life_hours: expected a number, found None"),
        ("time_decay", {"half_life_hours": "24"}, "parameter half_life_hours: expected a number, found '24'"),
        ("markov", {"order": True}, "parameter order: expected a number, found True"),
        ("time_decay", {"halflife": 3, "x": 1}, "parameters: 'halflife', 'x'; known: half_life_hours$"),
        ("last", {"halflife": 3}, "'last', __init__: does not take these parameters: 'halflife'; known: none$"),
        ("attention", {"learning_rate": [0.1]}, r"parameter learning_rate: expected a number, found \[0.1\]"),
    ],
)
def test_bad_parameters_are_named(name, parameters, message):
    with pytest.raises(MalTfError, match=message):
        create(name, parameters)


def test_a_constructor_that_fails_is_named():
    class Own(Last):
        def __init__(self):
            raise SystemExit(3)

    register("leaves")(Own)
    with pytest.raises(MalTfError, match="attribution mechanism 'leaves', __init__: SystemExit: 3"):
        create("leaves", {})


def test_unknown_mechanism_and_parameters_are_named():
    with pytest.raises(
        MalTfError, match="unknown attribution mechanism 'lats'; did you mean 'last'\\? Known: first, last"
    ):
        create("lats", {})
    with pytest.raises(MalTfError, match="'last', __init__: does not take these parameters"):
        create("last", {"half_life": 3})
