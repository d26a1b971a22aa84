"""JSON Lines in bounded blocks: what becomes of rows, of malformed lines, of fields that some lines lack."""

import gzip
import json

import pytest

from features.errors import MalTfError
from pipelines.sources import reader
from pipelines.sources.tables import TableSource

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
    assert rows == [(i + 1 + 2 * (i >= 3), i, f"t{i}") for i in range(20)]
    assert malformed == []


def test_malformed_lines_stand_alone_and_the_others_stay(tmp_path):
    lines = [json.dumps({"id": i, "tag": "x"}) for i in range(50)]
    lines[10], lines[31], lines[32] = '{"id": 10, "tag"', "[1, 2]", '{"id": 1}{"id": 2}'
    rows, malformed = read(tmp_path, lines)
    assert [id_ for _, id_, _ in rows] == [i for i in range(50) if i not in (10, 31, 32)]
    assert [(number, text) for number, _, text in malformed] == [(i + 1, lines[i]) for i in (10, 31, 32)]
    assert all("JSON object" in reason for _, reason, _ in malformed)


def test_a_field_that_some_lines_lack_is_null_there(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_BLOCK_BYTES", 12)
    rows, _ = read(tmp_path, ['{"id": 1}', '{"id": 2, "tag": "x"}', '{"id": 3}'])
    assert rows == [(1, 1, None), (2, 2, "x"), (3, 3, None)]


def test_a_field_that_no_line_has_is_left_out_of_the_last_batch(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"id": 1}\n{"id": 2, "other": 1}\n')
    source = TableSource.model_construct(files=(str(path),), explode=None)
    (*_, last) = reader.read(reader.Piece(str(path)), COLUMNS, source)
    assert last.rows.schema.names == ["id", "other"]  # so that `normalise` names what is missing and what is there


def test_explode_gives_a_row_per_object_with_the_line_number(tmp_path):
    lines = [
        '{"session": 1, "events": [{"id": 1, "tag": "a"}, {"id": 2, "tag": "b"}]}',
        '{"session": 2, "events": []}',
        '{"session": 3, "events": [{"id": 3, "tag": "c"}]}',
    ]
    rows, malformed = read(tmp_path, lines, explode="events")
    assert rows == [(1, 1, "a"), (1, 2, "b"), (3, 3, "c")]
    assert malformed == []


def test_lines_without_the_list_to_explode_are_malformed(tmp_path):
    rows, malformed = read(tmp_path, ['{"session": 1}', '{"session": 2}'], explode="events")
    assert rows == []
    assert [(number, reason) for number, reason, _ in malformed] == [
        (n, "no list of objects in 'events'; found: session") for n in (1, 2)
    ]


def test_a_damaged_gzip_file_is_named(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "tag": "a"}\n' * 1000)[:-20])
    source = TableSource.model_construct(files=(str(path),), explode=None)
    with pytest.raises(MalTfError, match=r"log.jsonl.gz can't be read as jsonl"):
        list(reader.read(reader.Piece(str(path)), COLUMNS, source))
