"""Journeys of some users against the labels of everybody's events, and against the definition of what is linked."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import example
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.touchpoints import TouchpointConfig
from pipelines.explain.journey import Attributed
from pipelines.labels.clock import Clock
from tests.support.random_logs import CLICKS, CONVERSIONS, SPEC, eligible, logs

CLOCK = Clock(start=0, eval_from=8, eval_until=13, observed_until=12, segment=4, day=100)
NAMES = ("first", "linear", "shapley", "markov")
TYPES = ["x", "y", "z"]


def planned(windows, simultaneous=True, reset=False):
    """A plan with a window for each mechanism and a common one."""
    *own, common = (JourneyRules(window, simultaneous, reset) for window in windows)
    mechanisms, rules = {name: create(name, {}) for name in NAMES}, dict(zip(NAMES, own, strict=True))
    return labelling.LabelPlan(SPEC, mechanisms, rules, common, TouchpointConfig(), (), 1, valued=True)


def sorted_events(clicks, sales):
    clicks = pa.Table.from_pylist(clicks, pa.schema(CLICKS))
    return shard.sort(clicks, pa.Table.from_pylist(sales, pa.schema(CONVERSIONS)))


@settings(max_examples=25)
@given(logs(), st.booleans(), st.booleans(), st.lists(st.integers(0, 13), min_size=5, max_size=5))
def test_of_one_user_alone_labels_are_what_the_job_writes_and_the_sums_of_the_credits(
    rows, simultaneous, reset, windows
):
    clicks, sales = rows
    clicks = [click | {"touchpoint": click["feature/f"]} for click in clicks]
    plan, everybody = planned(windows, simultaneous, reset), sorted_events(clicks, sales)
    for name, statistics in labelling.statistics(everybody, plan, TYPES, 8, 12).items():
        plan.mechanisms[name].load(plan.mechanisms[name].fit(statistics))
    written, _ = labelling.label(everybody, plan, TYPES, CLOCK.observed_until)
    records = {}
    for batch in written.combine_chunks().to_batches():
        records |= dict(zip(batch["click_id"].to_pylist(), example.encode(example.to_lists(batch)), strict=True))
    for user in sorted({click["user_id"] for click in clicks}):
        own = [[row for row in table if row["user_id"] == user] for table in (clicks, sales)]
        events = Attributed(sorted_events(*own), plan, TYPES, CLOCK, 1)
        for click in own[0]:
            place = events.position(user, str(click["click_id"]))
            assert events.records(place, place + 1) == [records[click["click_id"]]]
            begin, end = events.around(place, neighbours=1, most=20)
            found = events.journey(begin, end)
            assert {c.click_id for c in found.clicks} <= {
                c["click_id"] for c in own[0] if c["match_key"] == click["match_key"]
            }
            shown = found.clicks[place - begin]
            assert shown.click_id == click["click_id"]
            for name in NAMES:
                sums = sum(c.credit[name][place - begin] or 0 for c in found.conversions)
                assert sums == pytest.approx(shown.credit[name], abs=1e-6)
            for sale, name in itertools.product(found.conversions, NAMES):
                row = next(s for s in own[1] if s["conversion_id"] == sale.conversion_id)
                path = eligible(*own, row, plan.rules[name])
                named = [c.click_id for c, x in zip(found.clicks, sale.credit[name], strict=True) if x is not None]
                assert named == [c for c in path if c in {one.click_id for one in found.clicks}]


@given(logs(), st.lists(st.integers(0, 6), min_size=5, max_size=5))
def test_linked_clicks_are_those_that_share_conversions(rows, windows):
    clicks, sales = rows
    plan = planned(windows)
    events = Attributed(sorted_events(clicks, sales), plan, TYPES, CLOCK, 1)
    ids = events.events.clicks["click_id"].to_pylist()
    parent = {i: i for i in ids}

    def root(i):
        return i if parent[i] == i else root(parent[i])

    for sale, rules in itertools.product(sales, plan.rules.values()):
        for one, other in itertools.pairwise(eligible(clicks, sales, sale, rules)):
            parent[root(other)] = root(one)
    begin, end = events.linked
    for place, click in enumerate(ids):
        assert {i for i in ids if root(i) == root(click)} == set(ids[begin[place] : end[place]])


EVENT = {"user_id": "u", "match_key": "k", "touchpoint": "x", "feature/f": "x"}


def test_what_is_shown_around_a_click_is_bounded():
    clicks = [EVENT | {"click_id": i, "timestamp": i} for i in range(10)]
    clicks.append(EVENT | {"click_id": 10, "timestamp": 4, "match_key": "l"})
    sale = {"conversion_id": "c", "user_id": "u", "match_key": "k", "timestamp": 5, "value": 2.0}
    late = sale | {"conversion_id": "late", "timestamp": 40}
    events = Attributed(sorted_events(clicks, [sale, late]), planned([2] * 5), TYPES, CLOCK, 1)
    assert events.around(4, neighbours=0, most=20) == (3, 6)
    assert events.around(4, neighbours=2, most=20) == (1, 8)
    assert events.around(4, neighbours=9, most=2) == (2, 7)
    assert events.around(10, neighbours=9, most=20) == (10, 11)
    found = events.journey(8, 10)
    assert (found.user_id, found.match_key, found.conversions) == ("u", ("k",), ())
    (after,) = events.journey(8, 10, further=1).conversions
    assert (after.conversion_id, after.value, set(after.credit["linear"])) == ("late", 2.0, {None})
    (of,) = events.journey(3, 6, {"m": np.array([0.5, 0.25, 0.125], np.float32)}).conversions
    assert of.credit["linear"] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert [c.cvr for c in events.journey(3, 5, {"m": [0.5, 0.25]}).clicks] == [{"m": 0.5}, {"m": 0.25}]


def test_a_click_that_is_not_there_and_moments_of_fine_clocks():
    events = Attributed(sorted_events([EVENT | {"click_id": 7, "timestamp": 3}], []), planned([1] * 5), TYPES, CLOCK, 1)
    assert events.position("u", "7") == 0
    assert events.position("u", "8") is events.position("v", "7") is None
    fine = dataclasses.replace(events, plan=dataclasses.replace(events.plan, units_per_second=1_000_000))
    assert fine.moment(1_700_000_000_123_456).isoformat() == "2023-11-14T22:13:20.123456+00:00"
