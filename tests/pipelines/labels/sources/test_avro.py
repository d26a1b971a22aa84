"""Avro files: types, codecs, blocks, and what is wrong in them."""

import datetime
import decimal
import io
import json
import struct

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from features.errors import BadInput
from pipelines.labels.sources import avro, reader
from pipelines.labels.sources.tables import TableSource
from tests.support.every_format import write_avro
from tests.support.labels import labels_of

UTC = datetime.timezone.utc


def read(path, columns, explode=None):
    source = TableSource.model_construct(files=(str(path),), explode=explode, delimiter=None)
    return [batch for piece in reader.pieces(str(path)) for batch in reader.read(piece, columns, source)]


def write(path, fields, rows, codec="null", **options):
    named = [{"name": name, "type": kind} for name, kind in fields.items()]
    with open(path, "wb") as file:
        fastavro.writer(file, {"type": "record", "name": "log", "fields": named}, rows, codec, **options)
    return path


def values(path, name):
    return [value for batch in read(path, [name]) for value in batch.rows[name].to_pylist()]


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("int", 3, (pa.int32(), 3)),
        ("long", 2**53 + 1, (pa.int64(), 2**53 + 1)),
        ("float", 0.5, (pa.float32(), 0.5)),
        ("boolean", True, (pa.bool_(), True)),
        ("bytes", b"\xff", (pa.binary(), b"\xff")),
        ({"type": "enum", "name": "e", "symbols": ["a", "b"]}, "b", (pa.string(), "b")),
        ({"type": "fixed", "name": "f", "size": 2}, b"ab", (pa.binary(2), b"ab")),
        ({"type": "int", "logicalType": "date"}, datetime.date(2024, 1, 2), (pa.date32(), datetime.date(2024, 1, 2))),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            decimal.Decimal("12.50"),
            (pa.decimal128(12, 2), decimal.Decimal("12.50")),
        ),
        ({"type": "string", "logicalType": "uuid"}, "6f1c", (pa.string(), "6f1c")),
        ({"type": "string", "sqlType": "DATETIME"}, "2024-01-02T00:00:00", (pa.string(), "2024-01-02T00:00:00")),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            datetime.datetime(2024, 1, 2, microsecond=5, tzinfo=UTC),
            (pa.timestamp("us", "UTC"), datetime.datetime(2024, 1, 2, microsecond=5, tzinfo=UTC)),
        ),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            datetime.datetime(2024, 1, 2),
            (pa.timestamp("ms"), datetime.datetime(2024, 1, 2)),
        ),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 10**9, None),
    ],
)
def test_types(tmp_path, kind, value, found):
    path = write(tmp_path / "log.avro", {"x": ["null", kind]}, [{"x": value}, {"x": None}])
    (batch,) = read(path, ["x"])
    assert batch.rows["x"].null_count == 1
    if found is None:
        assert batch.rows["x"].type == pa.timestamp("ns", "UTC")
    else:
        assert (batch.rows["x"].type, batch.rows["x"][0].as_py()) == found


def test_a_time_out_of_range_costs_no_other_row(tmp_path):
    far = 2**62
    fields = {"x": {"type": "long", "logicalType": "timestamp-micros"}}
    path = write(tmp_path / "log.avro", fields, [{"x": 1}, {"x": far}, {"x": 3}])
    (batch,) = read(path, ["x"])
    assert batch.rows["x"].cast(pa.int64()).to_pylist() == [1, far, 3]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_codecs_blocks_and_batches(tmp_path, monkeypatch, codec, size):
    monkeypatch.setattr(avro, "_ROWS", size)
    rows = [{"id": i, "tag": None if i % 3 else f"t{i}"} for i in range(50)]
    fields = {"other": "string", "id": "long", "tag": ["null", "string"]}
    path = write(tmp_path / "log.avro", fields, [{"other": "x" * 9, **row} for row in rows], codec, sync_interval=60)
    batches = read(path, ["id", "tag"])
    assert [row for batch in batches for row in batch.rows.to_pylist()] == rows
    assert np.concatenate([batch.numbers for batch in batches]).tolist() == list(range(1, 51))
    assert max(batch.rows.num_rows for batch in batches) <= size


def _repacked(path, codec, pack):
    """The file with its blocks packed by a codec for which fastavro needs a further package."""
    data = path.read_bytes()
    blocks = list(fastavro.block_reader(io.BytesIO(data)))
    head = io.BytesIO(b"Obj\x01")
    head.seek(4)
    schema = json.dumps(blocks[0].writer_schema).encode()
    meta = {"avro.schema": schema, "avro.codec": codec.encode()}
    fastavro.schemaless_writer(head, {"type": "map", "values": "bytes"}, meta)
    marker = b"0123456789abcdef"
    parts = [head.getvalue(), marker]
    for block in blocks:
        packed = pack(block.bytes_.getvalue())
        parts += [avro._zigzag(block.num_records), avro._zigzag(len(packed)), packed, marker]
    path.write_bytes(b"".join(parts))


@pytest.mark.parametrize("codec", ["snappy", "zstandard"])
def test_codecs_of_pyarrow(tmp_path, codec):
    rows = [{"id": i, "tag": "x" * (i % 400)} for i in range(900)]
    path = write(tmp_path / "log.avro", {"id": "long", "tag": "string"}, rows, sync_interval=9000)
    name = {"snappy": "snappy", "zstandard": "zstd"}[codec]
    ending = struct.pack(">I", 0) if codec == "snappy" else b""
    _repacked(path, codec, lambda data: pa.Codec(name).compress(data, asbytes=True) + ending)
    assert [row for batch in read(path, ["id", "tag"]) for row in batch.rows.to_pylist()] == rows


def test_an_unknown_codec(tmp_path):
    path = write(tmp_path / "log.avro", {"id": "long"}, [{"id": 1}])
    _repacked(path, "lzo", bytes)
    with pytest.raises(BadInput, match=r"log\.avro can't be read as avro: expected codec null.*zstandard, found lzo"):
        read(path, ["id"])


def test_text_that_is_not_utf8_is_bytes_and_the_other_columns_stay(tmp_path):
    rows = [{"id": b"a", "tag": b"\xff"}, {"id": "é".encode(), "tag": b"x"}]
    path = write(tmp_path / "log.avro", {"id": "bytes", "tag": "bytes"}, rows)
    # `bytes` and `string` are stored alike, and their names in the schema can be exchanged if the length stays.
    path.write_bytes(path.read_bytes().replace(b'"type": "bytes"', b'"type":"string"'))
    (batch,) = read(path, ["id", "tag"])
    assert batch.rows["id"].to_pylist() == ["a", "é"]
    assert (batch.rows["tag"].type, batch.rows["tag"].to_pylist()) == (pa.binary(), [b"\xff", b"x"])


def test_nested_fields_and_explode(tmp_path):
    rows = pa.table(
        {
            "id": [1, 2, 3],
            "geo": [{"country": "de", "place": {"city": "Köln"}}, None, {"country": None, "place": None}],
            "items": [[{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], [], None],
        }
    )
    write_avro(rows, tmp_path / "log.avro")
    (batch,) = read(tmp_path / "log.avro", ["id", "geo.country", "geo.place.city"])
    assert batch.rows.to_pydict() == {
        "id": [1, 2, 3],
        "geo.country": ["de", None, None],
        "geo.place.city": ["Köln", None, None],
    }
    (batch,) = read(tmp_path / "log.avro", ["id", "items.sku", "n"], explode="items")
    assert batch.rows.to_pydict() == {"id": [1, 1], "items.sku": ["a", "b"], "n": [1, 2]}
    assert (batch.numbers.tolist(), batch.empty) == ([1, 1], 2)
    (batch,) = read(tmp_path / "log.avro", ["id"], explode="items")
    assert batch.numbers.tolist() == [1, 1]
    assert "geo.place.city" in reader.column_names(str(tmp_path / "log.avro"))


def test_a_type_that_is_defined_in_a_field_that_is_not_read(tmp_path):
    money = {"type": "record", "name": "money", "fields": [{"name": "amount", "type": "double"}]}
    path = write(
        tmp_path / "log.avro",
        {"cost": money, "worth": ["null", "money"]},
        [{"cost": {"amount": 1.0}, "worth": {"amount": 2.0}}],
    )
    assert values(path, "worth.amount") == [2.0]


def test_types_that_no_column_has_are_refused_where_they_are_used(tmp_path):
    node = {
        "type": "record",
        "name": "node",
        "fields": [{"name": "next", "type": ["null", "node"]}, {"name": "n", "type": "int"}],
    }
    fields = {"id": "long", "x": ["null", "string", "long"], "m": {"type": "map", "values": "int"}, "node": node}
    row = {"id": 1, "x": "a", "m": {"k": 1}, "node": {"next": None, "n": 7}}
    path = write(tmp_path / "log.avro", fields, [row])
    assert values(path, "id") == [1]
    assert values(path, "node.n") == [7]
    with pytest.raises(BadInput, match=r"column 'x': expected one type beside null, found a union of string and long"):
        read(path, ["x"])
    with pytest.raises(BadInput, match=r"column 'm': expected values, lists or records, found a map"):
        read(path, ["m"])


@pytest.mark.parametrize("at", [2, 40, -30, -1])
def test_cut_files(tmp_path, at):
    rows = [{"id": i} for i in range(500)]
    path = write(tmp_path / "log.avro", {"id": "long"}, rows, "deflate", sync_interval=200)
    path.write_bytes(path.read_bytes()[:at])
    with pytest.raises(BadInput, match=r"log\.avro can't be read as avro"):
        read(path, ["id"])


def test_a_damaged_block_is_named_by_the_rows_before_it(tmp_path):
    rows = [{"id": i} for i in range(500)]
    path = write(tmp_path / "log.avro", {"id": "long"}, rows, "deflate", sync_interval=200)
    data = bytearray(path.read_bytes())
    data[-20] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match=r"it is cut or damaged after row \d\d\d.*replace it"):
        read(path, ["id"])


@pytest.mark.parametrize("data", [b"", b"id,user\n1,2\n", b"Obj\x01", b"Obj\x01" + b"\xff" * 40])
def test_what_is_no_avro(tmp_path, data):
    path = tmp_path / "log.avro"
    path.write_bytes(data)
    with pytest.raises(BadInput):
        read(path, ["id"])


def test_no_rows(tmp_path):
    path = str(write(tmp_path / "log.avro", {"id": "long"}, []))
    assert (read(path, ["id"]), reader.has_rows(path), reader.column_names(path)) == ([], False, ["id"])
    (batch,) = reader.read_file(path, ["id"])
    assert (batch.rows.num_rows, batch.rows.schema.field("id").type) == (0, pa.int64())


@pytest.mark.parametrize("ending", ["avro", "orc"])
def test_labels_are_those_of_parquet(project, ending):
    before = labels_of(project, "before")
    for name in ("clicks", "conversions"):
        rows, path = getattr(project, name), project.folder / f"{name}.{ending}"
        write_avro(rows, path) if ending == "avro" else _write_orc(rows, path)
        project.config["sources"][name]["files"] = path.name
    assert labels_of(project, "after") == before


def _write_orc(rows, path):
    import pyarrow.orc as po

    po.write_table(rows, path, stripe_size=4096)


def test_bad_rows_are_dead_letters_with_their_place(project):
    clicks = project.clicks.slice(0, 300).to_pylist()
    clicks[4]["user"] = None
    write_avro(pa.Table.from_pylist(clicks, project.clicks.schema), project.folder / "clicks.avro", block=500)
    project.config["sources"]["clicks"]["files"] = "clicks.avro"
    project.config["labels"]["max_bad_share"] = 0.1
    project.write()
    project.labels()
    (letter,) = (project.folder / "labels" / "dead_letter").glob("clicks-*.jsonl")
    found = json.loads(letter.read_text())
    assert (found["row"], found["file"].endswith("clicks.avro")) == (5, True)


def test_a_missing_column(project):
    write_avro(project.clicks.drop(["price"]), project.folder / "clicks.avro")
    project.config["sources"]["clicks"]["files"] = "clicks.avro"
    project.write()
    with pytest.raises(
        BadInput, match=r"clicks\.avro.*column 'price' of the clicks table is missing; found columns: id"
    ):
        project.labels()


def test_gzipped_avro_is_refused(tmp_path):
    with pytest.raises(Exception, match=r"expected a file ending in .*\.avro, \.orc \(text files also with \.gz\)"):
        read(tmp_path / "log.avro.gz", ["id"])
