"""A table means the same in every file format."""

import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from features import table
from features.errors import BadInput
from features.raw_times import TimeFormat
from pipelines.clicks.labelled import load_clicks
from pipelines.labels.sources import reader
from pipelines.labels.sources.tables import TableSource
from tests.support.every_format import tables, write
from tests.support.labels import tree
from tests.support.project import DAY, START, make_logs

ROLES = table.ClickColumns(
    click_id="id", user_id="user", timestamp="ts", match_key=("shop", "flag"), touchpoint="place"
)
FEATURES = {"place": "string", "flag": "string", "item": "int64", "price": "float32", "near": "list of float32"}
UTC = datetime.timezone.utc


def canonical(path):
    lists, numbers = {"near"}, {"price", "near"}
    bounds, parts = table.TimeBounds(0, 2**63 - 1), []
    for piece in reader.pieces(str(path)):
        for raw in reader.read(piece, table.required_columns(ROLES, FEATURES), None, reader.Cells(lists, numbers)):
            found = table.normalise(raw.rows, ROLES, FEATURES, bounds, TimeFormat(1), str(path))
            rows = found.rows.to_pydict() | {"click_id": found.rows["click_id"].cast(pa.string()).to_pylist()}
            rows["feature/near"] = [np.asarray(one, "f").tobytes() for one in found.rows["feature/near"].to_pylist()]
            parts.append((rows, found.bad_index.tolist(), found.reasons))
    return parts


@settings(deadline=None, max_examples=60)
@given(tables())
def test_rows_are_the_same(tmp_path_factory, rows):
    first, *others = map(canonical, write(rows, tmp_path_factory.mktemp("log")))
    for other in others:
        assert other == first


def _as_text(rows, folder, name):
    frame = rows.to_pandas(integer_object_nulls=True)
    frame.to_csv(folder / f"{name}.csv", index=False)
    lines = [json.dumps(row) + "\n" for row in rows.to_pylist()]
    (folder / f"{name}-0.jsonl").write_text("".join(lines[::2]))
    (folder / f"{name}-1.jsonl").write_text("".join(lines[1::2]))


@pytest.mark.parametrize("text_ids", [True, False])
def test_labels_are_the_same(project, text_ids):
    """In CSV and JSON Lines ids are text; otherwise, every byte is the same."""
    project.clicks = project.clicks.set_column(
        project.clicks.schema.get_field_index("ts"), "ts", pc.multiply(pc.divide(project.clicks["ts"], 3600), 3600)
    )
    if text_ids:
        project.clicks = project.clicks.set_column(0, "id", project.clicks["id"].cast(pa.string()))
    rows = project.clicks.num_rows
    items = pa.array([None if i % 9 == 0 else i % 7 for i in range(rows)], pa.int64())
    project.clicks = project.clicks.set_column(project.clicks.schema.get_field_index("item"), "item", items)
    found = []
    for ending in ("parquet", "csv", "jsonl"):
        project.config["labels"]["shards"] = 2
        project.write()
        for name, log in (("clicks", project.clicks), ("conversions", project.conversions)):
            _as_text(log, project.folder, name)
            project.config["sources"][name]["files"] = f"{name}*.{ending}"
        project.write()
        project.labels(ending)
        found.append(project.folder / ending)
    columns = [
        "user_id",
        "timestamp",
        "label_first",
        "label_last",
        "label_linear",
        "label_mta",
        "label_cat",
        "item",
        "price",
    ]
    frames = [load_clicks(str(folder)).frame(["click_id", *columns]).astype({"click_id": str}) for folder in found]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_frame_equal(frames[0], frames[2])
    if text_ids:
        trees = [
            {n: b for n, b in tree(folder).items() if n.startswith(("Split", "vocab", "attr"))} for folder in found
        ]
        assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("kind", ["us", "ns"])
def test_times_finer_than_the_unit_keep_their_resolution(project, kind):
    """A click after the conversion gets nothing, and clicks within a second keep their order."""
    factor = {"us": 10**6, "ns": 10**9}[kind]
    at = [t * factor + after for t, after in ((START, 5), (START, 9), (START + 2 * DAY, 8), (START + 2 * DAY, 1))]
    clicks = {"id": ["before", "after", "a", "z"], "user": ["u", "u", "v", "v"], "shop": ["s"] * 4, "place": ["p"] * 4}
    clicks |= {"item": [1] * 4, "price": [1.0] * 4, "ts": pa.array(at, pa.timestamp(kind, "UTC"))}
    sales = pa.array([START * factor + 7, (START + 2 * DAY + 60) * factor], pa.timestamp(kind, "UTC"))
    project.clicks = pa.table(clicks)
    project.conversions = pa.table({"id": ["1", "2"], "user": ["u", "v"], "shop": ["s"] * 2, "ts": sales})
    project.config["attribution"]["mechanisms"].pop()
    written, project.clicks, project.conversions = (project.clicks, project.conversions), *make_logs(clicks=9)
    project.write()
    for name, log in zip(("clicks", "conversions"), written, strict=True):
        pq.write_table(log, project.folder / f"{name}.parquet", version="2.6")
    report = project.labels()
    found = load_clicks(str(project.folder / "labels")).frame(["click_id", "label_first", "label_last"])
    assert dict(zip(found["click_id"], zip(found["label_first"], found["label_last"], strict=True), strict=True)) == {
        "before": (1, 1),
        "after": (0, 0),
        "z": (1, 0),
        "a": (0, 1),
    }
    assert report["time_unit"] == kind


def test_a_column_that_no_line_has_is_missing(project):
    project.write()
    for name, log in (("clicks", project.clicks.drop(["price"])), ("conversions", project.conversions)):
        _as_text(log, project.folder, name)
        project.config["sources"][name]["files"] = f"{name}*.jsonl"
    project.write()
    with pytest.raises(BadInput, match=r"column 'price' of the clicks table is missing; found columns: id, item"):
        project.labels()


def test_times_with_and_without_a_zone(project):
    for name, zone in (("clicks", "UTC"), ("conversions", None)):
        rows = getattr(project, name)
        times = rows["ts"].cast(pa.timestamp("s", zone))
        setattr(project, name, rows.set_column(rows.schema.get_field_index("ts"), "ts", times))
    project.write()
    with pytest.raises(BadInput, match=r"conversions.*without a time zone.*state the zone.*sources\.time_zone"):
        project.labels("refused")
    project.config["sources"]["time_zone"] = "UTC"
    project.write()
    assert project.labels()["conversions"]["attributed"] > 0


def test_words_for_null():
    source = TableSource[table.ClickColumns].model_validate
    given_ = {"files": "log.csv", "columns": {"click_id": "id", "user_id": "user", "timestamp": "ts"}}
    assert source(given_).null_values is None
    assert source(given_ | {"null_values": ["-"]}).null_values == ("-",)


@pytest.mark.parametrize(
    ("name", "null_values", "users"),
    [
        ("log.csv", None, ["u", None, None, None, "-"]),
        ("log.csv", ["-"], ["u", "NULL", "\\N", "(not set)", None]),
        ("log.parquet", None, ["u", "NULL", "\\N", "(not set)", "-"]),
        ("log.parquet", ["-", "(not set)"], ["u", "NULL", "\\N", None, None]),
        ("log.jsonl", ["-", "(not set)"], ["u", "NULL", "\\N", None, None]),
    ],
)
def test_words_for_null_by_format(tmp_path, name, null_values, users):
    words = ["u", "NULL", "\\N", "(not set)", "-"]
    (tmp_path / "log.csv").write_text("user\n" + "\n".join(words) + "\n")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({"user": word}) + "\n" for word in words))
    pq.write_table(pa.table({"user": words}), tmp_path / "log.parquet")
    (raw,) = reader.read(reader.Piece(str(tmp_path / name), 0), ["user"], null_values=null_values)
    assert raw.rows["user"].to_pylist() == users
