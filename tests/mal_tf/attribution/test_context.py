"""Context touches, such as views: journeys, credit, fits and counts against the definitions in plain Python."""

import collections
import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mal_tf
from features.spec import FeatureSpec
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.journeys import JourneyRules, converting_spans, other_spans
from mal_tf.attribution.label_counts import TOUCH_CREDIT_UNIT
from mal_tf.attribution.labels import ClickCredit, implied
from mal_tf.attribution.touches import Events, Kinds
from tests.support.random_logs import CLICKS, CONVERSIONS, EVENT, SPEC, logs

CONTEXT = {"touch_id": pa.string(), "user_id": pa.string(), "match_key": pa.string(), "timestamp": pa.int64()}
CONTEXT |= {"touchpoint": pa.string()}
KINDS = ("view", "video")
SHARE = {
    "first": lambda place, n: float(place == 0),
    "last": lambda place, n: float(place == n - 1),
    "linear": lambda place, n: 1 / n,
}
TOUCHES = st.lists(st.fixed_dictionaries(EVENT | {"touchpoint": st.sampled_from(["", "feed"])}), max_size=8)


@st.composite
def logs_with_context(draw):
    """Rows of clicks, conversions, and each kind of context touch."""
    clicks, sales = draw(logs())
    ids = draw(st.permutations(range(8)))
    return clicks, sales, [[r | {"touch_id": f"{i}"} for r, i in zip(draw(TOUCHES), ids, strict=False)] for _ in KINDS]


def prepared(clicks, sales, context):
    tables = [pa.Table.from_pylist(rows, pa.schema(CONTEXT)) for rows in context]
    clicks = pa.Table.from_pylist(clicks, pa.schema(CLICKS))
    return shard.sort(clicks, pa.Table.from_pylist(sales, pa.schema(CONVERSIONS)), tables)


def planned(mechanisms, windows, **settings):
    """A plan in hours, with windows of clicks, views and videos."""
    of_context = dict(zip(KINDS, windows[1:], strict=True))
    config = mal_tf.AttributionConfig(
        window_hours=windows[0], context_window_hours=of_context, mechanisms=mechanisms, **settings
    )
    return labelling.LabelPlan.from_config(config, SPEC, 1, valued=True, context=KINDS)


def in_hours(rows):
    return [row | {"timestamp": row["timestamp"] * 3600} for row in rows]


def path_of(sale, rows, windows, simultaneous, reset):
    """The touches of a conversion in order, as (time, 0 for context and 1 for clicks, kind, id), by the definition alone."""
    clicks, sales, context = rows
    same = [s for s in sales if (s["user_id"], s["match_key"]) == (sale["user_id"], sale["match_key"])]
    earlier = [s["timestamp"] for s in same if s["timestamp"] < sale["timestamp"]]
    touches = []
    for kind, (log, id_column) in enumerate(((clicks, "click_id"), *((log, "touch_id") for log in context))):
        for row in log:
            gap = sale["timestamp"] - row["timestamp"]
            ok = (row["user_id"], row["match_key"]) == (sale["user_id"], sale["match_key"])
            ok = ok and kind < len(windows) and 0 <= gap <= windows[kind] and (simultaneous or gap > 0)
            if reset and earlier:
                spent = max(earlier)
                ok = ok and (row["timestamp"] > spent or (row["timestamp"] == spent and not simultaneous))
            if ok:
                touches.append((row["timestamp"], kind == 0, kind, row[id_column]))
    return sorted(touches)


WINDOWS = st.tuples(st.integers(1, 13), st.integers(1, 13), st.integers(1, 13)).map(
    lambda hours: (hours[0], min(hours[1:2] + hours[:1]), min(hours[2:3] + hours[:1]))
)


@given(logs_with_context(), st.booleans(), st.booleans(), WINDOWS, st.integers(1, 13))
def test_labels_are_what_the_definitions_say(rows, simultaneous, reset, windows, own):
    mechanisms = [mal_tf.mechanism(name) for name in SHARE]
    mechanisms += [mal_tf.mechanism(name, f"{name}_own", window_hours=own) for name in SHARE]
    mechanisms += [mal_tf.mechanism(name, f"{name}_click", clicks_only=True) for name in SHARE]
    rules = {"simultaneous": "eligible" if simultaneous else "ineligible", "reset_after_conversion": reset}
    plan = planned(mechanisms, windows, **rules)
    clicks, sales, context = rows
    labelled, counts = labelling.label(
        prepared(in_hours(clicks), in_hours(sales), map(in_hours, context)), plan, ["t"], 99 * 3600
    )
    found = {row["click_id"]: row for row in labelled.to_pylist()}
    assert set(found) == {click["click_id"] for click in clicks}

    of_mechanism = dict.fromkeys(SHARE, windows)
    of_mechanism |= {f"{name}_own": tuple(min(window, own) for window in (own, *windows[1:])) for name in SHARE}
    of_mechanism |= {f"{name}_click": windows[:1] for name in SHARE}
    credit, valued, longest, lengths = (collections.Counter() for _ in range(4))
    touched = collections.Counter()
    for sale in sales:
        path = path_of(sale, rows, windows, simultaneous, reset)
        lengths[len(path)] += 1
        for _, _, kind, touch in path:
            longest[kind, touch] = max(longest[kind, touch], len(path))
        for name, kinds in of_mechanism.items():
            path = path_of(sale, rows, kinds, simultaneous, reset)
            touched[name] += bool(path)
            for place, (_, _, kind, touch) in enumerate(path):
                share = SHARE[name.partition("_")[0]](place, len(path))
                credit[name, kind, touch] += share
                valued[name, kind, touch] += share * sale["value"]
    for i, row in found.items():
        for name in of_mechanism:
            assert row[f"credit_{name}"] == pytest.approx(credit[name, 0, i], abs=1e-6)
            assert row[f"label_{name}"] == pytest.approx(min(credit[name, 0, i], 1), abs=1e-6)
            assert row[f"valued_credit_{name}"] == pytest.approx(valued[name, 0, i], abs=1e-5)
        assert row["label_cat"] == sum((credit[name, 0, i] > 0) << bit for bit, name in enumerate(of_mechanism))
        assert row["path_length"] == longest[0, i]
        before = [c for c in clicks if c["user_id"] == row["user_id"] and c["timestamp"] * 3600 < row["timestamp"]]
        before.sort(key=lambda c: (c["timestamp"], c["click_id"]), reverse=True)
        assert row["h"] == [c["feature/f"] for c in before[:2]]
    # Credits of clicks and context touches add up to the conversions with a touch.
    for name in of_mechanism:
        by_kind = [counts["touch_credit", kind, name] * TOUCH_CREDIT_UNIT for kind in ("click", *KINDS)]
        assert sum(by_kind) == pytest.approx(touched[name], abs=1e-9)
        assert by_kind[1] == pytest.approx(
            sum(n for (m, kind, _), n in credit.items() if (m, kind) == (name, 1)), abs=1e-9
        )
    assert [counts["touches", kind] for kind in ("click", *KINDS)] == [len(clicks), *map(len, context)]
    assert {n: c for n, c in lengths.items() if n} == {
        key[1]: c for key, c in counts.items() if key[0] == "path_length"
    }
    with_click = sum(any(t[2] == 0 for t in path_of(s, rows, windows, simultaneous, reset)) for s in sales)
    assert counts["conversions", "attributed"] == with_click
    assert counts["conversions", "context_only"] == touched["last"] - with_click
    assert counts["conversions", "without_click"] == len(sales) - with_click


@given(logs_with_context(), WINDOWS, st.data())
def test_credits_depend_neither_on_order_nor_on_other_users_nor_on_blocks(rows, windows, data):
    mechanisms = [mal_tf.mechanism(name) for name in ("first", "last", "linear", "time_decay", "shapley", "markov")]
    plan = planned(mechanisms, windows)
    clicks, sales, context = in_hours(rows[0]), in_hours(rows[1]), [in_hours(log) for log in rows[2]]
    whole = prepared(clicks, sales, context)
    types = ["t", "(view)", "(view) feed", "(video)", "(video) feed"]
    for name, statistics in labelling.statistics(whole, plan, types, 99 * 3600, 99 * 3600).items():
        plan.mechanisms[name].load(plan.mechanisms[name].fit(statistics))
    labelled, counts = labelling.label(whole, plan, types, 99 * 3600)
    shuffled = [data.draw(st.permutations(log)) for log in (clicks, sales, *context)]
    again, counts_again = labelling.label(prepared(*shuffled[:2], shuffled[2:]), plan, types, 99 * 3600)
    assert (again, counts_again) == (labelled, counts)
    parts, of_parts = {}, collections.Counter()
    for user in "uv":
        own = [[row for row in log if row["user_id"] == user] for log in (clicks, sales, *context)]
        part, counts_of_part = labelling.label(prepared(*own[:2], own[2:]), plan, types, 99 * 3600)
        parts |= {row["click_id"]: row for row in part.to_pylist()}
        of_parts.update(counts_of_part)
    assert parts == {row["click_id"]: row for row in labelled.to_pylist()}
    assert of_parts == counts


def _events(log):
    group, time = np.array(sorted(log), np.int64).reshape(-1, 2).T
    return Events(group, time)


LOG = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), max_size=8)


@given(st.lists(LOG, min_size=3, max_size=3), st.tuples(*[st.integers(0, 6)] * 3), st.data())
def test_other_journeys_are_runs_while_a_window_is_open(touch_logs, windows, data):
    parts = [_events(log) for log in touch_logs]
    kinds = Kinds.from_events(("click", *KINDS), parts)
    events = Events(*(np.concatenate([getattr(part, key) for part in parts]) for key in ("group", "time")))
    count = events.time.size
    claimed = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    runs, before = [], None
    order = sorted(range(count), key=lambda i: (events.group[i], events.time[i], kinds.kind[i] == 0, i))
    for i in order:
        if not claimed[i]:
            same = before is not None and not claimed[before] and events.group[before] == events.group[i]
            if same and any(events.time[i] - events.time[j] <= windows[kinds.kind[j]] for j in runs[-1]):
                runs[-1].append(i)
            else:
                runs.append([i])
        before = i
    spans = other_spans(events, np.array(claimed, bool), windows, kinds)
    offsets, index = spans._expanded(kinds)
    assert [run.tolist() for run in np.split(index, offsets[1:-1])][: len(runs)] == runs
    assert spans.first(kinds).tolist() == [run[0] for run in runs]
    assert spans.end.tolist() == [events.time[run[-1]] for run in runs]


@given(st.lists(LOG, min_size=3, max_size=3), LOG, WINDOWS, st.integers(1, 13), st.booleans())
def test_no_journey_goes_against_what_labels_imply(touch_logs, sales, windows, longer, reset):
    parts, conversions = [_events(log) for log in touch_logs], _events(sales)
    plan = planned([mal_tf.mechanism("last")], windows)
    kinds = Kinds.from_events(("click", *KINDS), parts)
    time = np.concatenate([part.time for part in parts])
    touches = dataclasses.replace(
        labelling.shard_touches(prepared([], [], [[], []]), plan, ["t"]),
        time=time,
        touchpoint=np.zeros(time.size, np.int64),
        touchpoints=mal_tf.attribution.touchpoints.Touchpoints(np.array(["t"], object)),
        confounders=np.zeros((time.size, 0), np.uint64),
        kinds=kinds,
    )
    of_rules = {
        "one": JourneyRules(windows[0], True, reset, windows[1:]),
        "clicks": JourneyRules(windows[0], True, reset),
        "other": JourneyRules(longer, True, reset, tuple(min(longer, window) for window in windows[1:])),
        "other_clicks": JourneyRules(longer, True, reset),
    }
    names = ("first", "last", "linear", "time_decay", "position")
    mechanisms = {f"{name}:{which}": mal_tf.mechanism(name).make() for name in names for which in of_rules}
    rules = {name: of_rules[name.partition(":")[2]] for name in mechanisms}
    positive, number = {}, conversions.time.size
    for name, mechanism in mechanisms.items():
        credit, none = ClickCredit(time.size), np.zeros(number)
        spans = converting_spans(parts[0], conversions, rules[name], none, none.astype(np.uint64), parts[1:])
        for block in spans.blocks(touches, cost=100):
            credit.add(block, mechanism.credit(block))
        positive[name] = credit.first(parts[0].time.size).label > 0
    for name, other in implied(mechanisms, rules):
        assert not (positive[name] & ~positive[other]).any(), (name, other)


def test_a_journey_of_clicks_and_views_by_hand():
    """Window of 7 days for clicks and 1 day for views: the views of days 2 and 5 are too old for the conversion of day 7."""
    day, at = 86_400, {"user_id": "u", "match_key": "k", "touchpoint": "feed"}
    clicks = [at | {"click_id": i, "timestamp": t * day, "feature/f": "x"} for i, t in enumerate((1, 4))]
    views = [at | {"touch_id": str(t), "timestamp": int(t * day)} for t in (2, 5, 6.5, 7)]
    sale = [at | {"conversion_id": "c", "timestamp": 7 * day, "value": 10.0}]
    mechanisms = [mal_tf.mechanism(name) for name in ("first", "last", "linear")]
    mechanisms.append(mal_tf.mechanism("last", "last_click", clicks_only=True))
    config = mal_tf.AttributionConfig(window_hours=168, context_window_hours={"view": 24}, mechanisms=mechanisms)
    plan = labelling.LabelPlan.from_config(config, SPEC, 1, valued=True, context=("view",))
    labelled, counts = labelling.label(prepared(clicks, sale, [views]), plan, ["feed"], 99 * day)
    rows = labelled.to_pylist()
    assert [row["label_first"] for row in rows] == [1, 0]
    assert [row["label_last"] for row in rows] == [0, 0]  # The view of the conversion's moment stands last.
    assert [row["label_linear"] for row in rows] == [0.25, 0.25]
    assert [row["label_last_click"] for row in rows] == [0, 1]
    assert [row["label_cat"] for row in rows] == [1 | 4, 4 | 8]
    assert [row["path_length"] for row in rows] == [4, 4]
    assert [row["valued_credit_linear"] for row in rows] == [2.5, 2.5]
    credit = {name: counts["touch_credit", "view", name] * TOUCH_CREDIT_UNIT for name in config.names}
    assert credit == {"first": 0, "last": 1, "linear": 0.5, "last_click": 0}


def test_a_click_is_later_than_a_view_of_the_same_moment():
    at = {"user_id": "u", "match_key": "k", "touchpoint": "feed", "timestamp": 3600}
    plan = planned([mal_tf.mechanism("last"), mal_tf.mechanism("first")], (5, 5, 5))
    rows = (
        [at | {"click_id": 1, "feature/f": "x"}],
        [at | {"conversion_id": "c", "value": 1.0}],
        [[at | {"touch_id": "9"}], []],
    )
    labelled, _ = labelling.label(prepared(*rows), plan, ["feed"], 9 * 3600)
    assert [labelled[f"label_{name}"][0].as_py() for name in ("last", "first")] == [1, 0]


@mal_tf.register("halves")
class Halves(mal_tf.Mechanism):
    """Half of the credit to the clicks, half to the views, where a journey has both."""

    def credit(self, journeys):
        is_click = journeys.kind == journeys.kinds.index("click")
        of_kind = [np.bincount(journeys.owner, mask, len(journeys))[journeys.owner] for mask in (is_click, ~is_click)]
        number = np.where(is_click, *of_kind)
        return 1 / number / np.where((of_kind[0] > 0) & (of_kind[1] > 0), 2, 1)


def test_a_mechanism_of_a_user_knows_the_kind_of_touch():
    frame = {"user_id": ["u"] * 4, "click_id": [1, 2, 3, 4], "timestamp": [1, 2, 3, 50]}
    clicks = pa.table(frame | {"touch_type": ["click", "view", "view", "click"]})
    sales = pa.table({"user_id": ["u"], "conversion_id": [1], "timestamp": [10]})
    config = mal_tf.AttributionConfig(
        window_hours=24, context_window_hours={"view": 12}, mechanisms=[mal_tf.mechanism("halves")]
    )
    labelled = mal_tf.labels(clicks, sales, config, time_unit="s")
    assert labelled["click_id"].to_pylist() == [1, 4]
    assert labelled["label_halves"].to_pylist() == [0.5, 0]


def test_confounders_and_types_of_context_touches():
    spec = FeatureSpec(features=({"type": "categorical", "name": "age"}, {"type": "categorical", "name": "item"}))
    config = mal_tf.AttributionConfig(
        window_hours=1, context_window_hours={"view": 1}, mechanisms=[mal_tf.mechanism("shapley")], confounders=["age"]
    )
    plan = labelling.LabelPlan.from_config(config, spec, 1, valued=False, context=("view",))
    row = {"user_id": "u", "match_key": "k", "timestamp": 5}
    clicks = [row | {"click_id": 1, "touchpoint": "(view)", "feature/age": "30", "feature/item": "i"}]
    views = [row | {"touch_id": str(i), "touchpoint": t, "feature/age": "30"} for i, t in enumerate(("", "a", "a b"))]
    schema = {"feature/age": pa.string()}
    tables = [pa.Table.from_pylist(clicks, pa.schema(CLICKS | schema | {"feature/item": pa.string()}))]
    tables.append(pa.Table.from_pylist([], pa.schema(CONVERSIONS)))
    whole = shard.sort(*tables, [pa.Table.from_pylist(views, pa.schema(CONTEXT | schema))])
    counted = labelling.count_touchpoints(whole, plan, 9)
    assert dict(zip(*counted.to_pydict().values(), strict=True)) == {"(view)": 2, "(view) a": 1, "(view) a b": 1}
    touches = labelling.shard_touches(whole, plan, ["(view)", "(view) a"])
    assert touches.touchpoints.names[touches.touchpoint].tolist() == ["(view)", "(view)", "(view) a", "(rare)"]
    assert np.unique(touches.confounders).size == 1


@settings(max_examples=20)
@given(logs_with_context(), WINDOWS)
def test_statistics_see_each_touch_at_most_as_often_as_it_is_in_a_journey(rows, windows):
    """Journeys without a conversion have only touches that are in no converting journey, and every such touch once."""

    @mal_tf.register("paths")
    class Paths(mal_tf.DataDrivenMechanism):
        def statistics(self, converting, other):
            return [
                (k, o.kind.tolist(), o.click.tolist(), o.offsets.tolist()) for k, o in enumerate((converting, other))
            ]

        def merge(self, parts):
            return [one for part in parts for one in part]

        def fit(self, statistics):
            return {}

        def load(self, parameters):
            pass

        def credit(self, journeys):
            return np.zeros(journeys.click.size)

    plan = planned([mal_tf.mechanism("paths")], windows)
    whole = prepared(*map(in_hours, rows[:2]), map(in_hours, rows[2]))
    (found,) = labelling.statistics(whole, plan, ["t"], 99 * 3600, 999 * 3600).values()
    claimed = {(kind, touch) for sale in rows[1] for _, _, kind, touch in path_of(sale, rows, windows, True, False)}
    others = [touch for which, _, touches, _ in found if which == 1 for touch in touches]
    every = [(0, c) for c in whole.clicks["click_id"].to_pylist()]
    every += [(k, t) for k, log in enumerate(whole.context, 1) for t in log["touch_id"].to_pylist()]
    assert sorted(map(str, (every[touch] for touch in others))) == sorted(map(str, set(every) - claimed))
