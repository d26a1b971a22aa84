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


@pytest.mark.parametrize(
    ("case", "mechanism"),
    [
        ("first_touch", "first"),
        ("heuristic_first_touch", "first"),
        ("last_touch", "last"),
        ("linear_equal_share_over_distinct_channels", "linear"),
        ("linear_per_touch_repeated_channel", "linear"),
    ],
)
def test_small_paths(case, mechanism):
    paths = [path["path"].split(" > ") for path in CASES[case]["paths"] for _ in range(path["conversions"])]
    journeys = by_hand(paths)
    totals = np.bincount(journeys.touchpoint, create(mechanism, {}).credit(journeys), journeys.touchpoints.size)
    expected = collections.defaultdict(float, CASES[case]["expected"])
    assert totals.tolist() == pytest.approx([expected[name] for name in journeys.touchpoints])
