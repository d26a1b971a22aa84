"""Parquet that is whole and that pyarrow can't decode is not called damaged."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput
from pipelines.labels.sources import reader, undecodable


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (
            OSError("Metadata contains Thrift LogicalType that is not recognized"),
            "float16.*pyarrow 15 or later reads it",
        ),
        (pa.ArrowInvalid("Unrecognized type:24"), "string views.*pyarrow 18 or later reads it"),
        (pa.ArrowInvalid("Library only supports 128-bit or 256-bit decimal values"), "decimals of 32 or 64 bits"),
        (pa.ArrowNotImplementedError("Unsupported encoding: FANCY"), "a later pyarrow may read it"),
    ],
)
def test_the_type_is_named_with_what_reads_it(tmp_path, error, what):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(BadInput, match=what) as raised, reader._readable(path):
        raise error
    assert "damaged" not in str(raised.value)


def test_a_damaged_file_is_another_thing(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + b"x" * 100)
    assert undecodable.explanation(str(path), pa.ArrowInvalid("Parquet magic bytes not found in footer")) == ""
    with pytest.raises(BadInput, match="damaged"):
        reader.pieces(str(path))


def test_text_as_duckdb_encodes_it_for_parquet_2(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = str(tmp_path / "a.parquet")
    rows = "select 'c' || i as id, i as n from range(3000) r(i)"
    duckdb.sql(f"copy ({rows}) to '{path}' (format parquet, parquet_version 'V2')")
    (piece,) = reader.pieces(path)
    if int(pa.__version__.split(".")[0]) >= 12:
        assert sum(batch.rows.num_rows for batch in reader.read(piece, ["id"])) == 3000
        return
    with pytest.raises(BadInput, match=r"column 'id' \(DELTA_LENGTH_BYTE_ARRAY\).*pyarrow 12 or later") as error:
        list(reader.read(piece, ["id"]))
    assert "damaged" not in str(error.value)
    assert sum(batch.rows.num_rows for batch in reader.read(piece, ["n"])) == 3000
