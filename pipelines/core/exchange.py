"""Exchange of Arrow tables between Beam steps, through the runner or through local files beside the output."""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from features.arrays import flat, stable_hash
from pipelines.core import files

#: A packed table: its Arrow IPC bytes, or their location in a file as (path, offset, length).
Parcel = bytes | tuple[str, int, int]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """Packs Arrow tables into parcels that are cheap to shuffle.

    Attributes:
        directory: local directory for the bytes. Beam's local runners hold all data between two steps in memory; with files,
            that memory does not grow with the log. None passes the bytes through the runner, as on Dataflow.
    """

    directory: str | None = None

    def pack(self, tables: Sequence[pa.Table]) -> list[Parcel]:
        """Packs tables into one parcel each; with a directory, all of them into one new file."""
        packed = [to_ipc(table) for table in tables]
        if self.directory is None:
            return [data.to_pybytes() for data in packed]
        path = FileSystems.join(self.directory, uuid.uuid4().hex)
        files.write_bytes(path, b"".join(packed))
        ends = np.cumsum([data.size for data in packed]).tolist()
        return [(path, end - data.size, data.size) for end, data in zip(ends, packed, strict=True)]

    def partition(self, table: pa.Table, part: np.ndarray, count: int) -> Iterator[tuple[int, Parcel]]:
        """Packs the rows of a table by partition, keeping their order within each.

        Args:
            table: n rows.
            part: int64 [n], the partition of each row, from 0 to count − 1.
            count: number of partitions.

        Returns:
            (partition, parcel) of each partition that has rows.
        """
        order = np.argsort(part, kind="stable")
        table, bounds = table.take(pa.array(order)), np.searchsorted(part[order], np.arange(count + 1))
        numbers = np.flatnonzero(np.diff(bounds)).tolist()
        parts = [table.slice(bounds[number], bounds[number + 1] - bounds[number]) for number in numbers]
        return zip(numbers, self.pack(parts), strict=True)

    def partition_by_user(self, table: pa.Table, shards: int) -> Iterator[tuple[int, Parcel]]:
        """Packs the rows of a table by a hash of `user_id` into shards of users; see `partition`."""
        shard = stable_hash(flat(table["user_id"])) % np.uint64(shards)
        return self.partition(table, shard.astype(np.int64), shards)

    @staticmethod
    def unpack(parcel: Parcel) -> pa.Table:
        """Returns the table in a parcel."""
        if isinstance(parcel, bytes):
            return from_ipc(parcel)
        path, offset, length = parcel
        with open(path, "rb") as file:
            file.seek(offset)
            return from_ipc(file.read(length))


def to_ipc(table: pa.Table) -> pa.Buffer:
    """Serializes a table as a compressed Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_ipc(data: bytes) -> pa.Table:
    """Reads the table in an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()
