"""What a table source asks of raw batches beyond their columns: `where` and `join`."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from pipelines.labels.sources.reader import RawBatch, column_names, pieces, read
from pipelines.labels.sources.tables import Join, TableSource


class Refiner:
    """Applies a table source's `where` and `join` to raw batches; loads the joined tables once.

    Args:
        source: the table.
        columns: raw columns that are needed in the end.
    """

    def __init__(self, source: TableSource, columns: list[str]):
        self._source = source
        self._joined = [self._load(join, columns) for join in source.join]

    def read_columns(self, columns: list[str]) -> list[str]:
        """The columns to read from the table's own files: needed ones, and those of `where` and `join`."""
        return list(dict.fromkeys([*columns, *self._source.where, *(join.on for join in self._source.join)]))

    def where(self, raw: RawBatch, path: str) -> RawBatch:
        """Keeps the rows that `where` asks for."""
        keep = np.ones(raw.rows.num_rows, bool)
        for column, values in self._source.where.items():
            _require(raw.rows, column, path, "`where`")
            text = raw.rows[column].cast(pa.string())
            keep &= np.asarray(pc.is_in(text, value_set=pa.array(values, pa.string())))
        return raw if keep.all() else RawBatch(raw.rows.filter(pa.array(keep)), raw.numbers[keep], raw.malformed)

    def join(self, rows: pa.RecordBatch, path: str) -> pa.RecordBatch:
        """Adds the columns of the joined tables."""
        for join, (keys, table) in zip(self._source.join, self._joined, strict=True):
            _require(rows, join.on, path, "`join`")
            place = pc.index_in(rows[join.on].cast(pa.string()), value_set=keys)
            both = sorted(set(table.column_names) & set(rows.schema.names))
            if both:
                raise BadInput(f"{join.files}: column '{both[0]}' is also in {path}; rename one of them")
            names = rows.schema.names + table.column_names
            added = [table[name].take(place).combine_chunks() for name in table.column_names]
            rows = pa.RecordBatch.from_arrays([*rows.columns, *added], names)
        return rows

    def _load(self, join: Join, columns: list[str]) -> tuple[pa.Array, pa.Table]:
        wanted = [join.on, *(name for name in columns if name != join.on)]
        batches = [raw.rows for piece in pieces(join.files) for raw in read(piece, wanted)]
        present = [name for name in wanted if batches and all(name in rows.schema.names for rows in batches)]
        _require(pa.table({name: [] for name in present}), join.on, join.files, "`join`")
        keys = pa.concat_arrays([rows[join.on].cast(pa.string()) for rows in batches])
        tables = [pa.Table.from_batches([rows]).select(present[1:]) for rows in batches]
        try:  # JSON Lines may differ in types from batch to batch.
            schema = pa.unify_schemas([table.schema for table in tables])
            table = pa.concat_tables([table.cast(schema) for table in tables])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:  # pyarrow 23 raises the latter.
            raise BadInput(f"{join.files}: a column is of several types: {error}. Make them one type.") from error
        if len(keys.unique()) < len(keys):
            raise BadInput(f"{join.files}: column '{join.on}' must be unique to join on, found repeated values")
        return keys, table


def _require(rows: pa.RecordBatch | pa.Table, column: str, path: str, use: str) -> None:
    if column not in rows.schema.names:
        columns = ", ".join(column_names(path) or rows.schema.names)
        raise BadInput(f"{path}: column '{column}' that {use} names is missing; found: {columns}")
