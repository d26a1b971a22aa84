"""What the benchmark compares does the same work, on logs that are as promised."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import floor, logs, row_by_row
from features.keras2 import tf
from pipelines.config.run import load
from pipelines.labels import run as labels

LABELS = ["label_first", "label_last", "label_linear", "label_mta"]
CREDITS = ["credit_first", "credit_last", "credit_linear", "credit_mta"]
SIZE = 2_000


def read(folder, pattern):
    """Examples by click id: {feature: value}."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            row = {name: _values(f) for name, f in features.items() if f.WhichOneof("kind")}
            found[row["click_id"][0]] = row
    return found


def _values(feature):
    return list(getattr(feature, feature.WhichOneof("kind")).value)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    return logs.generate(logs.Logs(SIZE, giant=100), folder)


@pytest.fixture(scope="module")
def ours(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    labels.run(load(str(made)), str(folder))
    return read(folder, "Split-*/*.gz")


@pytest.fixture(scope="module")
def theirs(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("row_by_row")
    row_by_row.run(load(str(made)), folder)
    return folder


def test_row_by_row_writes_the_same_examples_as_our_job(ours, theirs):
    found = read(theirs, "*.gz")
    assert len(found) == SIZE and found.keys() == ours.keys()
    for click, row in found.items():
        given = {name: row.pop(name) for name in (*LABELS, *CREDITS)}
        assert given == {name: pytest.approx(ours[click][name], abs=1e-6) for name in given}
        assert row == {name: value for name, value in ours[click].items() if name not in given}


def test_the_mechanisms_differ_on_these_logs(ours):
    converting = [row for row in ours.values() if row["label_linear"] != [0.0]]
    assert np.mean([row["label_linear"] != row["label_last"] for row in converting]) > 0.3
    assert any(row["label_mta"] == [0.0] for row in converting)


def test_row_by_row_splits_as_our_job(made, theirs):
    start_of_eval = load(str(made)).labels.eval_from.timestamp()
    for pattern, is_eval in (("eval*", True), ("train*", False)):
        assert {row["timestamp"][0] >= start_of_eval for row in read(theirs, pattern).values()} == {is_eval}


@pytest.mark.parametrize("with_labels", [False, True])
def test_the_floor_writes_every_click(made, ours, tmp_path, with_labels):
    assert floor.run(load(str(made)), tmp_path, with_labels) == SIZE
    found = read(tmp_path, "*.gz")
    assert found.keys() == ours.keys()
    computed = {"path_length", "mature", "label_cat", *LABELS, *CREDITS}
    for click, row in found.items():
        assert row.keys() == (ours[click].keys() if with_labels else ours[click].keys() - computed)
        assert {name: row[name] for name in row.keys() - computed} == {
            name: value for name, value in ours[click].items() if name not in computed
        }


def test_duckdb_gives_the_same_rule_labels(made, ours, tmp_path):
    pytest.importorskip("duckdb")
    from benchmarks import duckdb_labels

    rows = pq.read_table(duckdb_labels.run(load(str(made)), tmp_path)).to_pylist()
    assert {row["id"] for row in rows} == ours.keys() and len(rows) == SIZE
    for row in rows:
        expected = {name: ours[row["id"]][name][0] for name in LABELS[:3]}
        assert {name: row[name] for name in LABELS[:3]} == pytest.approx(expected, abs=1e-6)


def tables(folder, table):
    return pq.read_table(sorted(folder.glob(f"{table}-*.parquet")))


def test_the_same_seed_makes_the_same_logs(tmp_path):
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        logs.generate(logs.Logs(SIZE, seed=seed), tmp_path / name)
    files = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert len(files) == 15  # seven days of two tables, and the config
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()}
    assert tables(tmp_path / "one", "clicks") != tables(tmp_path / "other", "clicks")


def test_logs_are_as_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "_CHUNK", 3_000)
    advanced = []
    logs.generate(logs.Logs(100_000, skew=0.5, giant=20_000), tmp_path, advanced.append)
    assert len(advanced) == 35 and sum(advanced) == 100_000
    clicks, conversions = tables(tmp_path, "clicks").to_pandas(), tables(tmp_path, "conversions").to_pandas()
    assert clicks["id"].tolist() == list(range(100_000))
    per_user = clicks["user"].value_counts()
    assert per_user.pop("giant") == 20_000
    assert 0.48 < per_user.head(100).sum() / per_user.sum() < 0.56
    assert 0.6 * 10_000 < len(per_user) <= 10_000
    assert clicks["placement"].nunique() == 40
    assert clicks["ts"].between(logs.START, logs.END - 1).all()
    assert 0.035 < len(conversions) / 80_000 < 0.065
    joined = conversions.merge(clicks, on=["id", "user", "campaign"], suffixes=("", "_click"))
    assert len(joined) == len(conversions) and (joined["ts"] >= joined["ts_click"]).all()
    assert 3 < (joined["ts"] - joined["ts_click"]).median() / 3600 < 12


def test_the_config_is_one_of_ours(made):
    config = load(str(made))
    assert [f.name for f in config.features] == ["campaign", "placement", "city", "item", "price", "quality"]
    assert json.loads(config.model_dump_json())["attribution"]["mechanisms"][3]["type"] == "shao_li"
