"""Labels of random shards against the definitions, click by click and conversion by conversion."""

import collections

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.attribution import labelling, shard
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.touchpoints import TouchpointConfig
from tests.support.random_logs import CLICKS, CONVERSIONS, SPEC, eligible, logs

SHARE = {
    "first": lambda place, n: float(place == 0),
    "last": lambda place, n: float(place == n - 1),
    "linear": lambda place, n: 1 / n,
}


@given(logs(), st.booleans(), st.booleans(), st.lists(st.integers(0, 13), min_size=4, max_size=4), st.integers(5, 20))
def test_labels_are_what_the_definitions_say(rows, simultaneous, reset, windows, observed_until):
    clicks, sales = rows
    common, *own = (JourneyRules(window, simultaneous, reset) for window in windows)
    rules = dict(zip(SHARE, own, strict=True))
    plan = labelling.LabelPlan(
        SPEC, {name: create(name, {}) for name in SHARE}, rules, common, TouchpointConfig(), (), 1, valued=True
    )
    prepared = shard.sort(
        pa.Table.from_pylist(clicks, pa.schema(CLICKS)), pa.Table.from_pylist(sales, pa.schema(CONVERSIONS))
    )
    labelled, counts = labelling.label(prepared, plan, ["t"], observed_until)
    found = {row["click_id"]: row for row in labelled.to_pylist()}
    assert set(found) == {click["click_id"] for click in clicks}

    raw, valued, longest = collections.Counter(), collections.Counter(), collections.Counter()
    for sale in sales:
        path = eligible(clicks, sales, sale, common)
        for click in path:
            longest[click] = max(longest[click], len(path))
        for name, share in SHARE.items():
            path = eligible(clicks, sales, sale, rules[name])
            for place, click in enumerate(path):
                raw[name, click] += share(place, len(path))
                valued[name, click] += share(place, len(path)) * sale["value"]
    attributed = sum(bool(eligible(clicks, sales, sale, common)) for sale in sales)
    assert counts["conversions", "attributed"] == attributed
    assert counts["conversions", "without_click"] == len(sales) - attributed
    for click in clicks:
        row, i = found[click["click_id"]], click["click_id"]
        for name in SHARE:
            assert row[f"credit_{name}"] == pytest.approx(raw[name, i], abs=1e-6)
            assert row[f"label_{name}"] == pytest.approx(min(raw[name, i], 1), abs=1e-6)
            assert row[f"valued_credit_{name}"] == pytest.approx(valued[name, i], abs=1e-5)
        assert row["label_cat"] == sum((raw[name, i] > 0) << bit for bit, name in enumerate(SHARE))
        assert row["path_length"] == longest[i]
        assert row["mature"] == (click["timestamp"] + max(windows) <= observed_until)
        before = [c for c in clicks if c["user_id"] == click["user_id"] and c["timestamp"] < click["timestamp"]]
        before.sort(key=lambda c: (c["timestamp"], c["click_id"]), reverse=True)
        assert row["h"] == [c["feature/f"] for c in before[:2]]
