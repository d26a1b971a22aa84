"""Cases written down by others: tests/golden/attribution, with their licences."""

import collections
import csv
import json
import pathlib

import numpy as np
import pytest

from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules, converting_spans
from tests.mal_tf.attribution.logs import by_hand, events
from tests.mal_tf.attribution.logs import touches as touches_of

FOLDER = pathlib.Path(__file__).parents[2] / "golden" / "attribution"
CASES = {case["name"]: case for case in json.loads((FOLDER / "small_paths.json").read_text())}


def _read(name):
    with (FOLDER / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_last_click_within_a_day():
    # In the source, a timestamp ≤ 0 is a missing one; a user's clicks and conversions match whatever the ad.
    touches = [t for t in _read("last_click_1d_touchpoints.csv") if t["is_click"] == "1" and int(t["timestamp"]) > 0]
    touches.sort(key=lambda t: (int(t["user_id"]), int(t["timestamp"]), int(t["touch_idx"])))
    conversions = _read("last_click_1d_conversions.csv")
    conversions.sort(key=lambda c: (int(c["user_id"]), int(c["timestamp"]), int(c["conv_idx"])))
    clicks, buys = ([(int(r["user_id"]), int(r["timestamp"])) for r in rows] for rows in (touches, conversions))
    rules, number = JourneyRules(window=86_400, simultaneous=False), len(conversions)
    spans = converting_spans(events(clicks), events(buys), rules, np.ones(number), np.zeros(number, np.uint64))
    journeys = spans.journeys(touches_of(clicks))
    credited = np.flatnonzero(create("last", {}).credit(journeys))
    found = {int(journeys.owner[i]): touches[journeys.click[i]] for i in credited}
    expected = {i: c for i, c in enumerate(conversions) if c["expected_attributed"] == "1"}
    assert len(conversions) == 39
    assert found.keys() == expected.keys()
    for i, conversion in expected.items():
        assert float(found[i]["ad_id"]) == float(conversion["expected_ad_id"])
        assert float(found[i]["timestamp"]) == float(conversion["expected_touch_timestamp"])


def _journeys(case, end):
    return by_hand([path["path"].split(" > ") for path in CASES[case]["paths"] for _ in range(path[end])])


@pytest.mark.parametrize(
    ("case", "mechanism"),
    [
        ("first_touch", "first"),
        ("heuristic_first_touch", "first"),
        ("last_touch", "last"),
        ("linear_equal_share_over_distinct_channels", "linear"),
        ("linear_per_touch_repeated_channel", "linear"),
        ("position_based_40_20_40", "position"),
        ("position_based_40_20_40_two_touches", "position"),
        ("shapley_single", "shapley"),
        ("shapley_symmetric", "shapley"),
    ],
)
def test_small_paths(case, mechanism):
    journeys, mechanism = _journeys(case, "conversions"), create(mechanism, {})
    if mechanism.data_driven:
        mechanism.load(mechanism.fit(mechanism.statistics(journeys, _journeys(case, "null"))))
    totals = np.bincount(journeys.touchpoint, mechanism.credit(journeys), journeys.touchpoints.size)
    expected = collections.defaultdict(float, CASES[case]["expected"])
    assert totals.tolist() == pytest.approx([expected[name] for name in journeys.touchpoints])


def test_markov_order_1():
    case, markov = CASES["markov_order1"], create("markov", {})
    found = markov.fit(markov.statistics(_journeys("markov_order1", "conversions"), _journeys("markov_order1", "null")))
    leaving = collections.Counter()
    for row in found["transitions"]:
        leaving[tuple(row["from"])] += row["count"]
    transitions = []
    for row in found["transitions"]:
        after = "(conversion)" if row["to"] == "conversion" else "".join(row["to"])
        share = row["count"] / leaving[tuple(row["from"])]
        transitions.append(["".join(row["from"]) or "(start)", after, share])
    assert sorted(transitions) == sorted(case["expected_transitions"])
    # The source simulates; its own note has the exact value.
    effect = found["removal_effect"]
    assert effect == pytest.approx({"A": 1.0, "B": 0.5})
    assert effect == pytest.approx(case["expected_removal_effect"], abs=case["tolerance"])
    # There, effects are normalised over all conversions; here per journey, over its own types.
    conversions = sum(path["conversions"] for path in case["paths"])
    shares = {name: conversions * e / sum(effect.values()) for name, e in effect.items()}
    assert shares == pytest.approx(case["expected"], abs=case["tolerance"])
