import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.errors import MalTfError
from pipelines.core.exchange import Exchange

TABLES = [pa.table({"a": [1, 2], "b": ["x", None]}), pa.table({"a": pa.array([], pa.int64())}), pa.table({"c": [0.5]})]


def test_tables_come_back_from_memory_and_from_files(tmp_path):
    for exchange in (Exchange(), Exchange(str(tmp_path / "deep" / "er"))):
        assert [exchange.unpack(parcel) for parcel in exchange.pack(TABLES)] == TABLES


def test_one_file_per_pack_and_small_parcels(tmp_path):
    exchange = Exchange(str(tmp_path))
    parcels = exchange.pack(TABLES) + exchange.pack(TABLES)
    assert len(list(tmp_path.iterdir())) == 2
    assert all(not isinstance(parcel, bytes) for parcel in parcels)


def test_a_place_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((MalTfError, OSError), match="file"):
        Exchange(str(tmp_path / "file")).pack(TABLES)


def test_a_user_always_goes_to_the_same_shard():
    """Label files are those of a shard: another hash would give other files for the same log."""
    users = [f"u{n}" for n in range(40)]
    expected = pd.util.hash_array(np.array(users, object), categorize=False) % np.uint64(3)
    for table in (pa.table({"user_id": users}), pa.concat_tables([pa.table({"user_id": users})] * 2)):
        by_shard = {shard: Exchange.unpack(parcel) for shard, parcel in Exchange().partition_by_user(table, 3)}
        for shard, rows in by_shard.items():
            assert set(rows["user_id"].to_pylist()) == {
                user for user, of in zip(users, expected, strict=True) if of == shard
            }
        assert sum(rows.num_rows for rows in by_shard.values()) == table.num_rows
