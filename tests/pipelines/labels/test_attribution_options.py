"""What the config says about attribution, seen in the files of the label job."""

import json

import numpy as np
import pyarrow as pa
import pytest

from features.errors import MalTfError
from tests.support.labels import HOUR, labels_of, oracle, tree
from tests.support.project import DAY, START


def test_a_mechanism_has_its_own_window_and_all_have_one_maturity(project):
    project.config["attribution"]["mechanisms"] += [{"name": "last_1h", "type": "last", "window_hours": 1}]
    project.config["attribution"]["mechanisms"] += [{"name": "linear_20h", "type": "linear", "window_hours": 20}]
    names = ("last", "linear", "last_1h", "linear_20h")
    found = labels_of(project, mechanisms=names)
    mature = {c["id"] for c in project.clicks.to_pylist() if c["ts"] + 20 * HOUR <= START + 3 * DAY}
    assert set(found) == mature
    windows = {"last": 12, "linear": 12, "last_1h": 1, "linear_20h": 20}
    for name in names:
        expected = oracle(project.clicks, project.conversions, windows[name] * HOUR)
        kind = f"credit_{name.split('_')[0]}"
        assert {c: row[f"credit_{name}"] for c, row in found.items()} == pytest.approx(
            {c: expected[c][kind] for c in mature}, abs=1e-6
        )


def test_value_weighted_credit_and_raw_sums(project):
    values = np.random.default_rng(3).integers(0, 50, project.conversions.num_rows).astype(float)
    project.conversions = project.conversions.append_column("value", pa.array(values))
    project.config["sources"]["conversions"]["columns"]["value"] = "value"
    found = labels_of(project, kinds=("label", "credit", "valued_credit"))
    expected = dict.fromkeys(found, 0.0)
    for conversion, value in zip(project.conversions.to_pylist(), values, strict=True):
        eligible = [
            (c["ts"], c["id"])
            for c in project.clicks.to_pylist()
            if (c["user"], c["shop"]) == (conversion["user"], conversion["shop"])
            and 0 <= conversion["ts"] - c["ts"] <= 12 * HOUR
        ]
        if eligible and max(eligible)[1] in expected:
            expected[max(eligible)[1]] += value
    assert {c: row["valued_credit_last"] for c, row in found.items()} == pytest.approx(expected, rel=1e-6)
    assert max(row["credit_linear"] for row in found.values()) > 1 >= max(r["label_linear"] for r in found.values())


@pytest.mark.parametrize("settings", [{"simultaneous": "ineligible"}, {"reset_after_conversion": True}])
def test_eligibility_settings_reach_the_job(project, settings):
    # A conversion at the very time of each third click, and another right after.
    clicks = project.clicks.slice(0, 300).to_pylist()
    twins = [{"id": f"t{c['id']}", "user": c["user"], "shop": c["shop"], "ts": c["ts"]} for c in clicks[::3]]
    later = [t | {"id": f"l{t['id']}", "ts": t["ts"] + 60} for t in twins]
    project.conversions = pa.Table.from_pylist(twins + later, project.conversions.schema)
    before = labels_of(project, "before", ("last",), ("credit",))
    project.config["attribution"] |= settings
    after = labels_of(project, "after", ("last",), ("credit",))
    changed = {c for c in before if before[c]["credit_last"] != after[c]["credit_last"]}
    assert changed & {c["id"] for c in clicks[::3]}
    assert sum(row["credit_last"] for row in after.values()) < sum(row["credit_last"] for row in before.values())


def test_types_of_several_columns_with_derived_parts_and_rare_ones_folded(project):
    project.config["sources"]["clicks"]["columns"]["touchpoint"] = ["place", "item"]
    project.config["attribution"]["touchpoint"] = {"min_count": 18, "recency_hours": [2], "position": True}
    labels_of(project)
    early = [c for c in project.clicks.to_pylist() if c["ts"] < START + 2 * DAY]
    counts = {}
    for click in early:
        kind = f"{click['place']}:{click['item']}"
        counts[kind] = counts.get(kind, 0) + 1
    kept = {kind for kind, n in counts.items() if n >= 18}
    assert 0 < len(kept) < len(counts)
    folder = project.folder / "labels/attribution"
    assert set((folder / "touchpoint.txt").read_text().split()) == kept
    fit = json.loads((folder / "mta.json").read_text())["fit"]
    bases = {name.split("|")[0] for row in fit["counts"] for name in row["types"]}
    assert bases == kept | {"(rare)"}
    parts = {tuple(name.split("|")[1:]) for row in fit["counts"] for name in row["types"]}
    assert parts <= {(r, p) for r in ("<2h", ">=2h") for p in ("only", "first", "middle", "last")}


def test_a_later_run_scores_with_an_earlier_fit_and_strangers_change_nothing(project):
    first = labels_of(project, "first")
    project.config["attribution"]["fit_from"] = "first"
    stranger = [
        {"id": 10_000 + i, "user": "stranger", "shop": "s0", "ts": START + 600 * i, "place": p, "item": 1, "price": 1.0}
        for i, p in enumerate(["top", "side", "feed"] * 30)
    ]
    sale = {"id": "strange", "user": "stranger", "shop": "s0", "ts": START + 600 * 90}
    project.clicks = pa.Table.from_pylist(project.clicks.to_pylist() + stranger, project.clicks.schema)
    project.conversions = pa.Table.from_pylist([*project.conversions.to_pylist(), sale], project.conversions.schema)
    second = labels_of(project, "second")
    assert {c: row for c, row in second.items() if c < 10_000} == first
    assert sum(second[c]["label_mta"] for c in second if c >= 10_000) == pytest.approx(1)
    fits = [tree(project.folder / name / "attribution") for name in ("first", "second")]
    assert fits[0] == fits[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_hours": 6}, "mta.json was fitted with window_hours = 12.0, but this config has 6.0"),
        ({"touchpoint": {"position": True}}, "was fitted with touchpoint = "),
        ({"columns": "item"}, r"was fitted with touchpoint_columns = \['place'\], but this config has \['item'\]"),
        ({"fit_from": "nowhere"}, "expected the finished label job of attribution.fit_from"),
    ],
)
def test_a_fit_made_for_other_settings_is_refused(project, change, message):
    project.write()
    project.labels("first")
    project.config["sources"]["clicks"]["columns"]["touchpoint"] = change.pop("columns", "place")
    project.config["attribution"] |= {"fit_from": "first"} | change
    project.write()
    with pytest.raises(MalTfError, match=message):
        project.labels("second")


def test_fit_from_without_anything_to_fit(project):
    project.config["attribution"]["mechanisms"].pop()
    first = labels_of(project, "first", ("first", "last", "linear"))
    project.config["attribution"]["fit_from"] = "first"
    assert labels_of(project, "second", ("first", "last", "linear")) == first


def test_a_mechanism_without_an_earlier_fit_is_named(project):
    project.write()
    project.labels("first")
    project.config["attribution"]["mechanisms"][3]["name"] = "mine"
    project.config["attribution"]["fit_from"] = "first"
    project.write()
    with pytest.raises(MalTfError, match="mine.json is missing, so there is no fit of mechanism 'mine'"):
        project.labels("second")


def test_vocabularies_grow_by_appending(project):
    project.write()
    project.labels("first")
    new = pa.array(["side" if i % 2 else f"new{i % 3}" for i in range(project.clicks.num_rows)])
    project.clicks = project.clicks.set_column(project.clicks.schema.get_field_index("place"), "place", new)
    project.config["labels"]["grow_from"] = "first"
    project.write()
    project.labels("second")
    places = [(project.folder / run / "vocabulary/place.txt").read_text().split() for run in ("first", "second")]
    assert places[1][:3] == places[0]
    assert sorted(places[1][3:]) == ["new0", "new1", "new2"]
    prices = [(project.folder / run / "vocabulary/price.txt").read_text() for run in ("first", "second")]
    assert prices[0] == prices[1]


def test_vocabularies_may_be_made_of_all_splits(project):
    """Those of the last of three days are the evaluation split."""
    late = project.clicks["ts"].to_numpy() >= START + 2 * DAY
    place = pa.array(np.where(late, "late", "early"))
    project.clicks = project.clicks.set_column(project.clicks.schema.get_field_index("place"), "place", place)
    project.config["labels"]["vocabulary_of"] = "all"
    project.write()
    project.labels()
    assert (project.folder / "labels/vocabulary/place.txt").read_text().split() == ["early", "late"]


@pytest.mark.parametrize(
    "changed", [{"type": "categorical", "name": "item"}, {"type": "numeric", "name": "item", "buckets": 4}]
)
def test_a_vocabulary_does_not_grow_into_one_of_another_kind(project, changed):
    project.write()
    project.labels("first")
    project.config["features"] = [{"type": "categorical", "name": "place"}, changed]
    project.config["labels"]["grow_from"] = "first"
    project.write()
    with pytest.raises(MalTfError, match="feature 'item' is .* here and was categorical int64 in .*first"):
        project.labels("second")


def test_a_data_driven_mechanism_may_have_any_name(project):
    project.config["attribution"]["mechanisms"][3]["name"] = "counts"
    found = labels_of(project, mechanisms=("last", "counts"))
    assert sum(row["credit_counts"] for row in found.values()) > 0


ATTENTION = {"name": "attention", "type": "attention", "parameters": {"epochs": 1, "min_count": 1}}


def test_attention_with_confounders_is_trained_and_scores_the_same_in_any_sharding(project):
    # An integer that some clicks lack, and a number: their hashes must not depend on what else is in a shard.
    items = [None if i % 50 == 7 else v for i, v in enumerate(project.clicks["item"].to_pylist())]
    column = project.clicks.schema.get_field_index("item")
    project.clicks = project.clicks.set_column(column, "item", pa.array(items, pa.int64()))
    project.config["attribution"] |= {"mechanisms": [{"name": "last", "type": "last"}, ATTENTION]}
    project.config["attribution"]["confounders"] = ["item", "price"]
    names = ("last", "attention")
    first = labels_of(project, "first", names)
    project.config["labels"]["shards"] = 7
    assert labels_of(project, "second", names) == first
    fits = [(project.folder / run / "attribution/attention.json").read_bytes() for run in ("first", "second")]
    assert fits[0] == fits[1]
    totals = {round(row["credit_attention"], 6) for row in first.values()}
    assert len(totals) > 10


def test_confounders_must_be_features(project):
    project.config["attribution"]["confounders"] = ["age"]
    project.write()
    with pytest.raises(MalTfError, match="attribution.confounders: 'age' is not a categorical or numeric feature"):
        project.labels()
