"""Labels of random shards against the definitions, click by click and conversion by conversion."""

import collections

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.spec import FeatureSpec
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.touchpoints import TouchpointConfig

SPEC = FeatureSpec(
    features=({"type": "categorical", "name": "f"}, {"type": "history", "name": "h", "of": "f", "length": 2})
)
CLICKS = {"click_id": pa.int64(), "user_id": pa.string(), "match_key": pa.string(), "timestamp": pa.int64()}
CLICKS |= {"touchpoint": pa.string(), "feature/f": pa.string()}
CONVERSIONS = {"conversion_id": pa.string(), "user_id": pa.string(), "match_key": pa.string()}
CONVERSIONS |= {"timestamp": pa.int64(), "value": pa.float64()}

EVENT = {"user_id": st.sampled_from("uv"), "match_key": st.sampled_from("kl"), "timestamp": st.integers(0, 12)}


@st.composite
def logs(draw):
    """Rows of both tables, ids in any order."""
    clicks = draw(st.lists(st.fixed_dictionaries(EVENT | {"feature/f": st.sampled_from("xyz")}), max_size=12))
    sales = draw(st.lists(st.fixed_dictionaries(EVENT | {"value": st.integers(0, 9).map(float)}), max_size=6))
    ids = draw(st.permutations(range(18)))
    clicks = [row | {"click_id": i, "touchpoint": "t"} for row, i in zip(clicks, ids, strict=False)]
    return clicks, [row | {"conversion_id": f"c{i}"} for row, i in zip(sales, ids[::-1], strict=False)]


def eligible(clicks, sales, sale, rules):
    """Ids of a conversion's eligible clicks, in order."""
    same = [s for s in sales if (s["user_id"], s["match_key"]) == (sale["user_id"], sale["match_key"])]
    place = sale["timestamp"], sale["conversion_id"]
    earlier = [s["timestamp"] for s in same if (s["timestamp"], s["conversion_id"]) < place]
    found = []
    for click in clicks:
        gap = sale["timestamp"] - click["timestamp"]
        ok = (click["user_id"], click["match_key"]) == (sale["user_id"], sale["match_key"])
        ok = ok and 0 <= gap <= rules.window and (rules.simultaneous or gap > 0)
        if rules.reset_after_conversion and earlier:
            spent = max(earlier)
            ok = ok and (click["timestamp"] > spent or (click["timestamp"] == spent and not rules.simultaneous))
        if ok:
            found.append((click["timestamp"], click["click_id"]))
    return [click for _, click in sorted(found)]


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
