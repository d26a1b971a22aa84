"""ORC files, stripe by stripe."""

import numpy as np
import pyarrow as pa
import pyarrow.orc as po
import pytest

from features.errors import BadInput
from pipelines.labels.sources import reader
from pipelines.labels.sources.tables import TableSource


def read(path, columns, explode=None):
    source = TableSource.model_construct(files=(str(path),), explode=explode, delimiter=None)
    return [batch for piece in reader.pieces(str(path)) for batch in reader.read(piece, columns, source)]


def test_rows_and_their_numbers_over_stripes(tmp_path):
    rows = pa.table({"id": np.arange(30_000), "tag": [None if i % 7 else f"t{i}" * 5 for i in range(30_000)]})
    po.write_table(rows, tmp_path / "log.orc", stripe_size=1 << 14)
    assert po.ORCFile(tmp_path / "log.orc").nstripes > 1
    batches = read(tmp_path / "log.orc", ["tag", "id"])
    assert pa.Table.from_batches([batch.rows for batch in batches]).select(["id", "tag"]).equals(rows)
    assert np.concatenate([batch.numbers for batch in batches]).tolist() == list(range(1, 30_001))


def test_nested_fields_dots_in_names_and_explode(tmp_path):
    rows = pa.table(
        {
            "id": [1, 2, 3],
            "geo": [{"country": "de", "n": 1}, None, {"country": None, "n": 2}],
            "a.b": ["x", "y", "z"],
            "items": [[{"sku": "a"}, {"sku": "b"}], [], None],
        }
    )
    po.write_table(rows, tmp_path / "log.orc")
    (batch,) = read(tmp_path / "log.orc", ["geo.country", "a.b"])
    assert batch.rows.to_pydict() == {"geo.country": ["de", None, None], "a.b": ["x", "y", "z"]}
    (batch,) = read(tmp_path / "log.orc", ["id", "items.sku"], explode="items")
    assert (batch.rows.to_pydict(), batch.numbers.tolist(), batch.empty) == (
        {"id": [1, 1], "items.sku": ["a", "b"]},
        [1, 1],
        2,
    )
    assert reader.column_names(str(tmp_path / "log.orc"))[:4] == ["id", "geo", "geo.country", "geo.n"]


def test_no_rows(tmp_path):
    path = str(tmp_path / "log.orc")
    po.write_table(pa.table({"id": pa.array([], pa.int64())}), path)
    assert (read(path, ["id"]), reader.has_rows(path)) == ([], False)
    (batch,) = reader.read_file(path, ["id"])
    assert (batch.rows.num_rows, batch.rows.schema.field("id").type) == (0, pa.int64())


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_damaged_files(tmp_path, cut):
    po.write_table(pa.table({"id": np.arange(1000)}), tmp_path / "log.orc", compression="zlib")
    data = (tmp_path / "log.orc").read_bytes()
    (tmp_path / "log.orc").write_bytes(data[:cut])
    with pytest.raises(BadInput, match=r"log\.orc can't be read as orc: .*replace it"):
        read(tmp_path / "log.orc", ["id"])
