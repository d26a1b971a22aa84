"""Shards, bundles and users of any size give the same labels, in bounded memory."""

import numpy as np
import pyarrow as pa
import pytest

from mal_tf.attribution.journeys import Spans
from pipelines.labels import read_logs, run, steps
from tests.support.labels import HOUR, read_labels, tree
from tests.support.project import START


def without_manifest(folder):
    return {name: data for name, data in tree(folder).items() if name != "manifest.json"}


def test_bundles_blocks_and_encoded_batches_change_no_byte(project, monkeypatch):
    project.write()
    project.labels("once")
    monkeypatch.setattr(read_logs, "_ROWS_SPLIT", 50)
    monkeypatch.setattr(steps, "_ROWS_ENCODED", 7)
    monkeypatch.setattr(Spans.blocks, "__defaults__", (10,))
    project.labels("again")
    assert without_manifest(project.folder / "once") == without_manifest(project.folder / "again")


@pytest.mark.parametrize(
    ("size", "shards"),
    [(0, 1), (1, 1), (16 << 20, 1), (17 << 20, 2), (100 << 30, 6400), (1 << 40, 20480), (10 * 10**12, 61763)],
)
def test_shards_grow_slower_than_the_largest_logs(size, shards):
    assert run.default_shards(size) == shards


def test_events_delivered_twice_change_no_byte(project):
    project.write()
    project.labels("once")
    order = np.random.default_rng(0).permutation(600)[:200]
    project.clicks = pa.concat_tables([project.clicks, project.clicks.take(pa.array(order))])
    project.conversions = pa.concat_tables([project.conversions, project.conversions])
    project.write()
    report = project.labels("again")
    assert report["clicks"]["exact_repeats"] == 200
    once, again = without_manifest(project.folder / "once"), without_manifest(project.folder / "again")
    once.pop("label_report.json"), again.pop("label_report.json")  # it counts the repeats
    assert once == again


def test_two_worker_processes_write_the_same_bytes(project):
    from pipelines.config.run import load

    config = load(project.write())
    run.run(config, str(project.folder / "one"))
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    run.run(config, str(project.folder / "two"), flags)
    assert without_manifest(project.folder / "one") == without_manifest(project.folder / "two")


def test_one_user_with_most_clicks_and_long_journeys(project):
    # 20,000 clicks of one user within the window of 40 conversions: 800,000 touches.
    clicks = 20_000
    giant = {
        "id": np.arange(10_000, 10_000 + clicks),
        "user": ["giant"] * clicks,
        "shop": ["s0"] * clicks,
        "ts": START + np.sort(np.random.default_rng(0).integers(6 * HOUR, size=clicks)),
        "place": ["top", "side", "feed", "other"] * (clicks // 4),
        "item": [1] * clicks,
        "price": [1.0] * clicks,
    }
    sales = [{"id": f"g{i}", "user": "giant", "shop": "s0", "ts": START + 6 * HOUR + i} for i in range(40)]
    project.clicks = pa.concat_tables([project.clicks, pa.table(giant, project.clicks.schema)])
    project.conversions = pa.concat_tables(
        [project.conversions, pa.Table.from_pylist(sales, project.conversions.schema)]
    )
    project.write()
    project.labels()
    found = read_labels(project.folder / "labels")
    mine = [row for click, row in found.items() if click >= 10_000]
    assert len(mine) == clicks
    assert sum(row["credit_linear"] for row in mine) == pytest.approx(40, rel=1e-5)
    assert sum(row["credit_mta"] for row in mine) == pytest.approx(40, rel=1e-5)
    assert max(row["credit_last"] for row in mine) == 40
    assert max(row["label_last"] for row in mine) == 1


EVERY = [
    {"name": "first", "type": "first"},
    {"name": "last", "type": "last"},
    {"name": "linear", "type": "linear", "window_hours": 6},
    {"name": "position", "type": "position"},
    {"name": "time_decay", "type": "time_decay", "parameters": {"half_life_hours": 2}},
    {"name": "shao_li", "type": "shao_li"},
    {"name": "shapley", "type": "shapley", "parameters": {"fallback": "last"}},
    {"name": "markov", "type": "markov", "parameters": {"order": 2}},
    {"name": "attention", "type": "attention", "parameters": {"epochs": 1, "min_count": 1}},
]


def test_every_mechanism_in_any_sharding_order_and_delivery_and_beside_strangers(project):
    names = [mechanism["name"] for mechanism in EVERY]
    project.config["attribution"]["mechanisms"] = EVERY
    project.config["attribution"]["touchpoint"] = {"position": True, "min_count": 5}
    project.write()
    project.labels("once")
    once = read_labels(project.folder / "once", names)
    assert all(sum(row[f"credit_{name}"] for row in once.values()) > 1 for name in names)

    generator = np.random.default_rng(2)
    order = np.append(generator.permutation(600), generator.integers(600, size=100))
    project.clicks = project.clicks.take(pa.array(order))
    project.conversions = pa.concat_tables([project.conversions, project.conversions.slice(3, 20)])
    project.config["labels"]["shards"] = 5
    project.write()
    project.labels("again")
    assert read_labels(project.folder / "again", names) == once
    fits = [tree(project.folder / name / "attribution") for name in ("once", "again")]
    assert fits[0] == fits[1]

    stranger = project.clicks.slice(0, 60).to_pylist()
    stranger = [row | {"id": 50_000 + i, "user": "stranger"} for i, row in enumerate(stranger)]
    project.clicks = pa.Table.from_pylist(project.clicks.to_pylist() + stranger, project.clicks.schema)
    sales = [{"id": f"s{r['id']}", "user": "stranger", "shop": r["shop"], "ts": r["ts"] + 60} for r in stranger[::4]]
    project.conversions = pa.Table.from_pylist(project.conversions.to_pylist() + sales, project.conversions.schema)
    project.config["attribution"]["fit_from"] = "once"
    project.write()
    project.labels("beside")
    beside = read_labels(project.folder / "beside", names)
    assert {click: row for click, row in beside.items() if click < 50_000} == once
    assert len(beside) > len(once)
