"""Files without rows, in every format: nothing among others, and read as no rows of what the header has."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from features.roles import ClickColumns
from pipelines.labels.sources import reader, refiner
from pipelines.labels.sources.tables import Join, TableSource
from tests.support.empty import EVERY, WITH_HEADER, WITHOUT_HEADER


@pytest.mark.parametrize("name", EVERY)
def test_a_file_without_rows_gives_none(tmp_path, name):
    path = tmp_path / name
    EVERY[name](path)
    assert [batch for piece in reader.pieces(str(path)) for batch in reader.read(piece, ["id", "ts", "price"])] == []
    (batch,) = reader.read_file(str(path), ["id", "ts", "price"])
    assert batch.rows.num_rows == 0
    assert batch.rows.schema.names == (["id", "ts"] if name in WITH_HEADER else ["id", "ts", "price"])


def test_whether_a_file_has_rows(tmp_path):
    for name in [name for name in EVERY if "jsonl" not in name]:
        EVERY[name](tmp_path / name)
        assert not reader.has_rows(str(tmp_path / name))
    (tmp_path / "a.csv").write_text("\n\nid\n\n1")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    assert all(reader.has_rows(str(tmp_path / name)) for name in ("a.csv", "a.parquet"))


def test_empty_files_among_others_change_nothing_and_alone_are_an_error(project):
    project.write()
    project.labels("before")
    for name, write in EVERY.items():
        write(project.folder / f"{'a' if len(name) % 2 else 'z'}-empty-{name}")
    for table in ("clicks", "conversions"):
        project.config["sources"][table]["files"] = [f"{table}.parquet", "?-empty-*"]
    project.write()
    project.labels("after")
    reports = [json.loads((project.folder / name / "label_report.json").read_text()) for name in ("before", "after")]
    assert reports[0] == reports[1]
    project.config["sources"]["clicks"]["files"] = "?-empty-*"
    project.write()
    with pytest.raises(BadInput, match="no clicks found in 0 rows read"):
        project.labels("none")


@pytest.mark.parametrize("name", EVERY)
def test_a_joined_table_without_rows_matches_nothing(tmp_path, name):
    EVERY[name](tmp_path / name)
    join = Join(files=str(tmp_path / name), on="user")
    roles = ClickColumns(click_id="id", user_id="user", timestamp="ts")
    source = TableSource.model_construct(files=("-",), columns=roles, where={}, join=(join,))
    if name in WITHOUT_HEADER:
        with pytest.raises(BadInput, match="expected a table to join, found no rows"):
            refiner.Refiner(source, ["user", "ts"])
        return
    raw = reader.RawBatch(pa.RecordBatch.from_pydict({"user": ["u"]}), np.arange(1), [], frozenset(["user"]))
    joined = refiner.Refiner(source, ["user", "ts"]).join(raw, "log")
    assert joined.to_pydict() == {"user": ["u"], "ts": [None]}


def test_a_joined_table_with_a_malformed_row_is_an_error(tmp_path):
    (tmp_path / "users.csv").write_text("user,age\nu,1\nv,2,3\n")
    source = TableSource.model_construct(files=("-",), where={}, join=(Join(files=f"{tmp_path}/users.csv", on="user"),))
    with pytest.raises(BadInput, match=r"users.csv, row 2: wrong columns: expected 2, found 3: v,2,3"):
        refiner.Refiner(source, ["user", "age"])
