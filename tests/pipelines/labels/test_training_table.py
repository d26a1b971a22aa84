"""The training table: what it holds, that it is listed and verified, and that the label files don't change."""

import pathlib
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydantic
import pytest

from pipelines.clicks.labelled import load_clicks
from pipelines.config.labels import TFRecordsConfig
from pipelines.core import manifest
from pipelines.run.verify import differences, verify
from tests.support.labels import tree
from tests.support.source_tree import ROOT


@pytest.fixture
def written(project):
    project.write()
    project.labels("before")
    project.config["tfrecords"] = {"also": "parquet"}
    project.write()
    project.labels()
    return project.folder / "labels"


def test_the_rows_are_those_of_the_label_files(written):
    listed = manifest.read(str(written))
    columns = [column["name"] for column in listed["columns"]]
    found = load_clicks(str(written)).frame([name for name in columns if name != "clicked_items"])
    table = pd.read_parquet(written / "table")
    assert sorted(table.columns) == sorted([*columns, "split", "segment"])
    order = ["timestamp", "user_id", "click_id"]
    table, found = (frame.sort_values(order).reset_index(drop=True) for frame in (table, found))
    for name in found.columns:
        pd.testing.assert_series_equal(table[name], found[name], check_dtype=False)
    assert table["clicked_items"].map(len).max() == 3
    split = np.where(table["timestamp"] < pd.Timestamp("2023-11-17").timestamp(), "train", "eval")
    assert table["split"].tolist() == split.tolist()
    assert table.groupby("split", observed=True)["segment"].nunique().to_dict() == {"eval": 1, "train": 2}


def test_it_changes_no_label_file_and_is_deterministic(project, written):
    trees = {name: tree(project.folder / name) for name in ("before", "labels")}
    for path, data in trees["before"].items():
        if path.startswith(("Split", "vocabulary", "attribution")):
            assert trees["labels"][path] == data
    project.labels("again")
    again = tree(project.folder / "again")
    tables = {path: data for path, data in trees["labels"].items() if path.startswith("table/")}
    assert len(tables) == 8
    assert {path: again[path] for path in tables} == tables


def test_it_is_listed_and_verified(written):
    entries = [e for e in manifest.read(str(written))["other_files"] if e["path"].startswith("table/")]
    assert [set(entry) for entry in entries] == [{"path", "split", "segment", "rows", "bytes", "sha256"}] * 8
    assert sum(entry["rows"] for entry in entries) == sum(e["rows"] for e in manifest.read(str(written))["files"])
    assert differences(verify(str(written))) == []
    path = written / entries[0]["path"]
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    assert any("rows" in line and entries[0]["path"] in line for line in differences(verify(str(written))))


def test_without_the_key_nothing_is_written(project, written):
    assert not (project.folder / "before" / "table").exists()
    assert "also" not in TFRecordsConfig().model_dump()  # So that labels of before are not due again.
    with pytest.raises(pydantic.ValidationError, match="also"):
        TFRecordsConfig(also="csv")


def test_the_snippet_of_the_documentation(written, monkeypatch, capsys):
    page = (ROOT / "docs/attribution.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(import pandas as pd\n.*?)```", page, re.DOTALL)
    monkeypatch.chdir(written.parent)
    pathlib.Path("runs").mkdir()
    pathlib.Path("runs/shop").symlink_to(written.parent)
    exec(snippet, {})
    assert "mean" in capsys.readouterr().out
