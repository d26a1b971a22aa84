"""Delimiters, and columns that stand in the path."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

from features.roles import ClickColumns
from pipelines.labels.sources import reader
from pipelines.labels.sources.tables import TableSource
from tests.support.labels import labels_of

ROLES = {"click_id": "id", "user_id": "user", "timestamp": "ts"}


def rows(path, columns=("id", "tag"), source=None):
    return [
        row
        for piece in reader.pieces(str(path))
        for b in reader.read(piece, list(columns), source)
        for row in b.rows.to_pylist()
    ]


def source(path, **keys):
    return TableSource[ClickColumns](files=str(path), columns=ROLES, **keys)


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "^", ".", "\\"])
def test_a_delimiter_of_ones_own(tmp_path, delimiter):
    path = tmp_path / "a.csv"
    path.write_text(
        f'id,{delimiter}tag\n"1{delimiter}\n2",x\n3{delimiter}y,z\n4{delimiter}"\n5{delimiter}w\n'.replace(
            ",", "", 1
        ).replace('",', f'"{delimiter}')
    )
    table = source(path, delimiter=delimiter)
    assert rows(path, source=table) == [
        {"id": f"1{delimiter}\n2", "tag": "x"},
        {"id": "3", "tag": "y,z"},
        {"id": "5", "tag": "w"},
    ]
    assert reader.column_names(str(path), table) == ["id", "tag"]


@pytest.mark.parametrize("delimiter", ['"', "\n", "", ",,", "é"])
def test_what_can_be_no_delimiter(delimiter):
    with pytest.raises(pydantic.ValidationError, match="delimiter"):
        source("a.csv", delimiter=delimiter)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_tsv_has_tabs(tmp_path, name):
    data = b"id\ttag\n1\ta,b\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert rows(tmp_path / name) == [{"id": "1", "tag": "a,b"}]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_columns_of_the_path(tmp_path, kind):
    folder = tmp_path / "country=de" / "city=K%C3%B6ln" / "shop=__HIVE_DEFAULT_PARTITION__" / "tag=path"
    folder.mkdir(parents=True)
    path = folder / f"a.{kind}"
    if kind == "csv":
        path.write_text("id,tag\n1,x\n2,y\n")
    elif kind == "parquet":
        pq.write_table(pa.table({"id": ["1", "2"], "tag": ["x", "y"]}), path)
    else:
        path.write_text("".join(json.dumps({"id": i, "tag": t}) + "\n" for i, t in ("1x", "2y")))
    wanted = ["id", "country", "city", "shop", "tag"]
    of_path = {"country": "de", "city": "Köln", "shop": None}
    assert rows(path, wanted) == [{"id": "1", **of_path, "tag": "x"}, {"id": "2", **of_path, "tag": "y"}]
    assert rows(path) == [{"id": "1", "tag": "x"}, {"id": "2", "tag": "y"}]


def test_labels_of_a_partitioned_log(project):
    before = labels_of(project, "before")
    place = project.clicks["place"].to_pylist()
    for name in sorted(set(place)):
        folder = project.folder / f"place={name}"
        folder.mkdir()
        part = project.clicks.filter(pa.array([value == name for value in place])).drop(["place"])
        pq.write_table(part, folder / "part-0.parquet")
    project.config["sources"]["clicks"]["files"] = "place=*/*.parquet"
    assert labels_of(project, "after") == before
