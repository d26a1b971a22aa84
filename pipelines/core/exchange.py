"""Exchange of Arrow tables between Beam steps: through the runner, or through local files beside the output."""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from features.arrays import flat, stable_hash
from pipelines.core import files

#: Bytes of Arrow IPC, or their place in a file: path, offset, length.
Parcel = bytes | tuple[str, int, int]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """Packs Arrow tables into parcels that are cheap to shuffle.

    Attributes:
        directory: local directory for the bytes. Beam's local runners hold everything between two steps in memory, which
            files keep from growing with the log. None passes the bytes to the runner, as on Dataflow.
    """

    directory: str | None = None

    def pack(self, tables: Sequence[pa.Table]) -> list[Parcel]:
        """Packs tables, one parcel each; with a directory, into one new file."""
        packed = [to_ipc(table) for table in tables]
        if self.directory is None:
            return [data.to_pybytes() for data in packed]
        path = FileSystems.join(self.directory, uuid.uuid4().hex)
        files.write_bytes(path, b"".join(packed))
        ends = np.cumsum([data.size for data in packed]).tolist()
        return [(path, end - data.size, data.size) for end, data in zip(ends, packed, strict=True)]

    def deal(self, table: pa.Table, place: np.ndarray, places: int) -> Iterator[tuple[int, Parcel]]:
        """Packs a table's rows by place, in their order.

        Args:
            table: n rows.
            place: int64 [n], where each row goes, 0 … places − 1.
            places: how many there are.

        Returns:
            (place, parcel) of each place that has rows.
        """
        order = np.argsort(place, kind="stable")
        table, bounds = table.take(pa.array(order)), np.searchsorted(place[order], np.arange(places + 1))
        numbers = np.flatnonzero(np.diff(bounds)).tolist()
        parts = [table.slice(bounds[number], bounds[number + 1] - bounds[number]) for number in numbers]
        return zip(numbers, self.pack(parts), strict=True)

    def deal_by_user(self, table: pa.Table, shards: int) -> Iterator[tuple[int, Parcel]]:
        """Packs the rows of a table with a `user_id` by shard of users, see `deal`."""
        shard = stable_hash(flat(table["user_id"])) % np.uint64(shards)
        return self.deal(table, shard.astype(np.int64), shards)

    @staticmethod
    def unpack(parcel: Parcel) -> pa.Table:
        """The table of a parcel."""
        if isinstance(parcel, bytes):
            return from_ipc(parcel)
        path, offset, length = parcel
        with open(path, "rb") as file:
            file.seek(offset)
            return from_ipc(file.read(length))


def to_ipc(table: pa.Table) -> pa.Buffer:
    """Arrow IPC stream of a table, compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_ipc(data: bytes) -> pa.Table:
    """Table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()
