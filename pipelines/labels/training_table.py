"""Labelled clicks as Parquet beside the TFRecords (`tfrecords.also`), for analysts and other training frameworks.

The files are partitioned as in Hive: `table/split=train/segment=00000/part-00000.parquet`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from pipelines.core import files

#: Directory of the files in a directory of labels.
FOLDER = "table"

#: Rows of a row group.
_ROWS = 65_536


class Table:
    """One file, which `created` opens.

    Attributes:
        entry: its entry in the manifest, complete when the file is closed.
    """

    def __init__(self, file: files.Hashed, schema: pa.Schema, entry: dict[str, Any]):
        self._writer, self.entry = pq.ParquetWriter(file, schema), entry

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Writes rows, in row groups of bounded size; NaN is null, as in the TFRecords."""
        columns = [
            pc.if_else(pc.is_nan(c), pa.scalar(None, c.type), c) if pa.types.is_floating(c.type) else c
            for c in rows.columns
        ]
        if rows.num_rows:
            self._writer.write_table(pa.table(columns, rows.schema.names), row_group_size=_ROWS)
            self.entry["rows"] += rows.num_rows

    def close(self) -> None:
        """Writes the end of the file."""
        self._writer.close()


@contextlib.contextmanager
def created(output: str, split: str, segment: int, part: int, schema: pa.Schema) -> Iterator[Table]:
    """Opens a file of the table, which appears complete or not at all.

    Args:
        output: directory of the labels.
        split: split of all rows.
        segment: their segment.
        part: number of the file among those of the segment.
        schema: of the rows.
    """
    path = f"{FOLDER}/split={split}/segment={segment:05d}/part-{part:05d}.parquet"
    with files.created(FileSystems.join(output, path)) as file:
        out = files.Hashed(file)
        table = Table(out, schema, {"path": path, "split": split, "segment": segment, "rows": 0})
        yield table
        table.close()
        table.entry.update({"bytes": out.bytes, "sha256": out.sha256.hexdigest()})
