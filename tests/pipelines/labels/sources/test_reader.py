"""Files in bounded blocks: what becomes of rows, of malformed lines, of fields that some lines lack."""

import gzip
import io
import json
import uuid

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput, MalTfError
from features.roles import ClickColumns
from pipelines.labels.sources import reader, refiner
from pipelines.labels.sources.tables import Join, TableSource

COLUMNS = ["id", "tag"]


def read(tmp_path, lines, explode=None, name="log.jsonl"):
    """All batches' rows with their numbers, and the malformed lines."""
    path = tmp_path / name
    data = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    source = TableSource.model_construct(files=(str(path),), explode=explode)
    rows, malformed = [], []
    for piece in reader.pieces(str(path)):
        for batch in reader.read(piece, COLUMNS, source):
            found = batch.rows.to_pylist()
            rows += [(number, row["id"], row["tag"]) for number, row in zip(batch.numbers, found, strict=True)]
            malformed += batch.malformed
    return rows, malformed


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_rows_and_line_numbers_do_not_depend_on_blocks(tmp_path, monkeypatch, block, name):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", block)
    lines = [json.dumps({"id": i, "tag": f"t{i}"}) for i in range(20)]
    lines[3:3] = ["", "  "]
    rows, malformed = read(tmp_path, [*lines, ""], name=name)
    assert rows == [(i + 1 + 2 * (i >= 3), str(i), f"t{i}") for i in range(20)]
    assert malformed == []


def test_malformed_lines_stand_alone_and_the_others_stay(tmp_path):
    lines = [json.dumps({"id": i, "tag": "x"}) for i in range(50)]
    lines[10], lines[31], lines[32] = '{"id": 10, "tag"', "[1, 2]", '{"id": 1}{"id": 2}'
    rows, malformed = read(tmp_path, lines)
    assert [id_ for _, id_, _ in rows] == [str(i) for i in range(50) if i not in (10, 31, 32)]
    assert [(number, text) for number, _, text in malformed] == [(i + 1, lines[i]) for i in (10, 31, 32)]
    assert all("JSON object" in reason for _, reason, _ in malformed)


def test_a_field_that_some_lines_lack_is_null_there(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", 12)
    rows, _ = read(tmp_path, ['{"id": 1}', '{"id": 2, "tag": "x"}', '{"id": 3}'])
    assert rows == [(1, "1", None), (2, "2", "x"), (3, "3", None)]


def test_a_field_that_no_line_has_is_null_and_not_among_the_seen(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1}\n{"id": 2, "other": 1}\n{"id": 3, "tag": null}\n')
    (batch,) = reader.read(reader.Piece(str(path)), ["id", "tag", "price"])
    assert batch.rows.to_pydict() == {"id": ["1", "2", "3"], "tag": [None] * 3, "price": [None] * 3}
    assert batch.seen == {"id", "tag"}


def test_explode_gives_a_row_per_object_with_the_line_number(tmp_path):
    lines = [
        '{"session": 1, "events": [{"id": 1, "tag": "a"}, {"id": 2, "tag": "b"}]}',
        '{"session": 2, "events": []}',
        '{"session": 3, "events": [{"id": 3, "tag": "c"}]}',
    ]
    rows, malformed = read(tmp_path, lines, explode="events")
    assert rows == [(1, "1", "a"), (1, "2", "b"), (3, "3", "c")]
    assert malformed == []


def test_lines_without_the_list_to_explode_are_counted(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"id": 1}\n{"events": null}\n{"events": []}\n{"events": [{"id": 4}]}\n')
    source = TableSource.model_construct(files=(), explode="events")
    (batch,) = reader.read(reader.Piece(str(tmp_path / "log.jsonl")), ["id"], source)
    assert (batch.rows["id"].to_pylist(), batch.numbers.tolist(), batch.malformed, batch.empty) == (["4"], [4], [], 3)
    (tmp_path / "log.jsonl").write_text('{"id": 1}\n')
    (batch,) = reader.read(reader.Piece(str(tmp_path / "log.jsonl")), ["id"], source)
    assert (batch.empty, batch.seen) == (1, {"id"})  # So that the field is missed where no line of the table has it.


def test_a_damaged_gzip_file_is_named(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "tag": "a"}\n' * 1000)[:-20])
    source = TableSource.model_construct(files=(str(path),), explode=None)
    with pytest.raises(MalTfError, match=r"log.jsonl.gz can't be read as jsonl"):
        list(reader.read(reader.Piece(str(path)), COLUMNS, source))


def test_lines_that_are_not_utf8_are_malformed_and_the_others_stay(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 1, "tag": "\xc3\xa9"}\n{"id": 2, "tag": "\xff"}\n{"id": 3, "tag": "x"}\n')
    source = TableSource.model_construct(files=(str(path),), explode=None)
    (batch,) = reader.read(reader.Piece(str(path)), COLUMNS, source)
    assert batch.rows.to_pylist() == [{"id": "1", "tag": "é"}, {"id": "3", "tag": "x"}]
    assert batch.numbers.tolist() == [1, 3]
    assert batch.malformed == [(2, "field 'tag': not UTF-8", '{"id": 2, "tag": "\ufffd"}')]


def test_a_block_with_many_malformed_lines_makes_few_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_BATCH_ROWS", 400)
    good = [json.dumps({"id": i, "tag": "x"} if i % 3 else {"id": i}) for i in range(1000)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f"{line}\n{{oops {i}\n" for i, line in enumerate(good)))
    source = TableSource.model_construct(files=(str(path),), explode=None)
    batches = list(reader.read(reader.Piece(str(path)), COLUMNS, source))
    assert [(batch.rows.num_rows, len(batch.malformed)) for batch in batches] == [(200, 200)] * 5
    assert [(n, i) for b in batches for n, i in zip(b.numbers, b.rows["id"].to_pylist(), strict=True)] == [
        (2 * i + 1, str(i)) for i in range(1000)
    ]
    assert [(n, text) for b in batches for n, _, text in b.malformed] == [
        (2 * i + 2, f"{{oops {i}") for i in range(1000)
    ]


def test_a_block_of_very_many_short_lines(tmp_path):
    rows, malformed = read(tmp_path, ['{"id": 1, "tag": "x"}'] * 150_000)
    assert [number for number, _, _ in rows] == list(range(1, 150_001))
    assert malformed == []


@pytest.mark.parametrize("block", [1, 60, 1 << 20])
@pytest.mark.parametrize("explode", [None, "events"])
def test_dates_and_times_stay_the_text_that_they_are(tmp_path, monkeypatch, block, explode):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", block)
    objects = [
        {"id": i, "at": "2024-01-02T03:04:05", "tag": t} for i, t in enumerate(["2024-01-01", "2024-01-01", "x"])
    ]
    lines = [
        json.dumps({"events": [row], "day": "2024-01-03"} if explode else row | {"day": "2024-01-03"})
        for row in objects
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))
    roles = ClickColumns(click_id="id", user_id="id", timestamp="at")
    source = TableSource.model_construct(files=(str(path),), columns=roles, explode=explode)
    batches = list(reader.read(reader.Piece(str(path)), ["id", "at", "tag", "day"], source))
    expected = [row | {"id": str(row["id"]), "day": "2024-01-03"} for row in objects]
    assert [row for batch in batches for row in batch.rows.to_pylist()] == expected


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_lines(tmp_path, monkeypatch, block):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", block)
    lines = ["\ufeff\r", '{"id": 1, "tag": "2024-01-01"}\r', "oops\r", '{"id": 2, "tag": "x"}\r']
    rows, malformed = read(tmp_path, lines)
    assert rows == [(2, "1", "2024-01-01"), (4, "2", "x")]
    assert [(number, text) for number, _, text in malformed] == [(3, "oops")]


def test_a_joined_table_may_lack_columns_and_mix_types_of_the_key(tmp_path):
    path = tmp_path / "places.jsonl"
    path.write_text('{"place": 1, "size": 2}\n{"place": "b", "size": 3}\n{"place": "c"}\n')
    source = TableSource.model_construct(files=("-",), where={}, join=(Join(files=str(path), on="place"),))
    rows = pa.RecordBatch.from_pydict({"place": ["c", "b", "1"], "id": [1, 2, 3]})
    raw = reader.RawBatch(rows, np.arange(3), [], frozenset(["place", "id"]))
    joined = refiner.Refiner(source, ["id", "place", "size"]).join(raw, "log")
    assert joined.to_pydict() == {"place": ["c", "b", "1"], "id": [1, 2, 3], "size": [None, "3", "2"]}


@pytest.mark.parametrize("explode", [None, "events"])
@pytest.mark.parametrize("name", ["products.csv", "products.jsonl"])
def test_json_lines_are_joined_with_columns_that_no_line_has(tmp_path, monkeypatch, explode, name):
    monkeypatch.setattr(reader, "_BATCH_ROWS", 1)
    (tmp_path / "products.csv").write_text("sku,tag\na,shoes\nb,hats\n")
    (tmp_path / "products.jsonl").write_text('{"sku": "a", "tag": "shoes"}\n{"sku": "b", "tag": "hats"}\n')
    log, rows = tmp_path / "log.jsonl", [{"id": 1, "sku": "b"}, {"id": 2, "sku": "x"}, {"id": 3, "sku": "a"}]
    log.write_text("".join(json.dumps({"events": [row]} if explode else row) + "\n" for row in rows))
    join = (Join(files=str(tmp_path / name), on="sku"),)
    source = TableSource.model_construct(files=(str(log),), where={}, join=join, explode=explode)
    refined = refiner.Refiner(source, COLUMNS)
    batches = list(reader.read(reader.Piece(str(log)), refined.read_columns(COLUMNS), source))
    joined = [row for batch in batches for row in refined.join(batch, str(log)).to_pylist()]
    assert [(row["id"], row["tag"]) for row in joined] == [("1", "hats"), ("2", None), ("3", "shoes")]


def test_a_column_with_values_in_both_tables_is_refused(tmp_path):
    (tmp_path / "products.csv").write_text("sku,tag\na,shoes\n")
    source = TableSource.model_construct(
        files=("-",), where={}, join=(Join(files=str(tmp_path / "products.csv"), on="sku"),)
    )
    rows = pa.RecordBatch.from_pydict({"sku": ["a"], "id": [1], "tag": ["own"]})
    with pytest.raises(MalTfError, match=r"products.csv: column 'tag' is also in log; rename one of them"):
        raw = reader.RawBatch(rows, np.arange(1), [], frozenset(rows.schema.names))
        refiner.Refiner(source, COLUMNS).join(raw, "log")


@pytest.mark.parametrize("written", ["True", "true"])
def test_where_compares_values_and_not_how_they_are_written(tmp_path, written):
    path = tmp_path / "log.csv"
    path.write_text(f"id,seen,kind\n1,{written},1.0\n2,False,1.0\n3,{written},2.0\n")
    source = TableSource.model_construct(files=("-",), where={"seen": ("true",), "kind": ("1",)}, join=())
    (raw,) = reader.read(reader.Piece(str(path)), ["id", "seen", "kind"])
    assert refiner.Refiner(source, ["id"]).where(raw, "log").rows["id"].to_pylist() == ["1"]


def test_uuids_are_text(tmp_path):
    known = uuid.UUID("12345678-9abc-def0-0123-456789abcdef")
    frame = duckdb.sql(f"SELECT '{known}'::UUID AS id UNION ALL SELECT NULL")
    frame.write_parquet(str(tmp_path / "log.parquet"))
    (raw,) = reader.read(reader.Piece(str(tmp_path / "log.parquet"), 0), ["id"])
    assert raw.rows["id"].to_pylist() == [str(known), None]


def test_small_batches_of_parquet_are_read_a_part_at_a_time(tmp_path, monkeypatch):
    """A row group of 3 MB, of whose columns no read takes more than a part, so that memory does not grow with row groups."""
    path = str(tmp_path / "one.parquet")
    numbers = np.random.default_rng(0).integers(2**62, size=400_000)
    pq.write_table(pa.table({"n": numbers}), path, row_group_size=numbers.size)
    sizes = []

    class Recorded(io.FileIO):
        def read(self, size=-1):
            sizes.append(size)
            return super().read(size)

    monkeypatch.setattr(reader.files, "open_binary", Recorded)
    read = np.concatenate([batch.rows["n"].to_numpy() for batch in reader.read_file(path, ["n"])])
    assert (read == numbers).all() and 0 < max(sizes) <= reader._SMALL_BLOCK


TWICE = pa.table([[1], ["a"], ["b"], [{"x": 1}]], ["id", "user", "user", "o"])


def _write_twice(path):
    if path.suffix == ".parquet":
        pq.write_table(TWICE, path)
    else:
        path.write_text("id,user,user,o\n1,a,b,x\n")
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_two_columns_of_one_name_are_refused_if_it_is_used(tmp_path, name):
    path = _write_twice(tmp_path / name)
    with pytest.raises(BadInput, match=rf"{name}: column 'user' occurs more than once"):
        list(reader.read_file(path, ["id", "user"]))
    (batch,) = reader.read_file(path, ["id"])
    assert [str(one) for one in batch.rows["id"].to_pylist()] == ["1"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_two_columns_of_one_name_in_a_joined_table(tmp_path, name):
    join = {"files": _write_twice(tmp_path / name), "on": "id"}
    columns = {"click_id": "id", "user_id": "user", "timestamp": "ts"}
    source = TableSource[ClickColumns].model_validate({"files": "x.csv", "columns": columns, "join": [join]})
    with pytest.raises(BadInput, match=rf"{name}: column 'user' occurs more than once"):
        refiner.Refiner(source, ["id", "user"])


def test_two_fields_of_one_name_in_a_struct(tmp_path):
    fields = [pa.field("x", pa.int64()), pa.field("x", pa.int64()), pa.field("y", pa.int64())]
    column = pa.StructArray.from_arrays([pa.array([1])] * 3, fields=fields)
    pq.write_table(pa.table([column], ["o"]), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"a.parquet: column 'o.x' occurs more than once"):
        list(reader.read_file(str(tmp_path / "a.parquet"), ["o.x"]))
