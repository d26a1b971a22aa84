"""Filtering (`where`) and joining (`join`) raw batches of a table source."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from pipelines.labels.sources.reader import RawBatch, column_names, read_file
from pipelines.labels.sources.tables import Join, TableSource


class Refiner:
    """Applies `where` and `join` of a table source to raw batches, after loading the joined tables once.

    Args:
        source: the table source.
        columns: raw columns required in the result.
    """

    def __init__(self, source: TableSource, columns: list[str]):
        self._source = source
        self._joined = [self._load(join, columns) for join in source.join]

    def read_columns(self, columns: list[str]) -> list[str]:
        """Lists the columns to read from the table's files, that is `columns` and those of `where` and `join`."""
        return list(dict.fromkeys([*columns, *self._source.where, *(join.on for join in self._source.join)]))

    def where(self, raw: RawBatch, path: str) -> RawBatch:
        """Returns the rows that match `where`."""
        keep = np.ones(raw.rows.num_rows, bool)
        for column, values in self._source.where.items():
            _require(raw.rows, column, path, "`where`")
            text = raw.rows[column].cast(pa.string())
            keep &= np.asarray(pc.is_in(text, value_set=pa.array(values, pa.string())))
        return raw if keep.all() else RawBatch(raw.rows.filter(pa.array(keep)), raw.numbers[keep], raw.malformed)

    def join(self, rows: pa.RecordBatch, path: str) -> pa.RecordBatch:
        """Returns the rows with the columns of the joined tables added, in place of columns without values.

        In JSON Lines every column that is asked for is one without values if no line has it.
        """
        for join, (keys, table) in zip(self._source.join, self._joined, strict=True):
            _require(rows, join.on, path, "`join`")
            position = pc.index_in(rows[join.on].cast(pa.string()), value_set=keys)
            kept = [f.name for f in rows.schema if not (pa.types.is_null(f.type) and f.name in table.column_names)]
            common = sorted(set(table.column_names) & set(kept))
            if common:
                raise BadInput(f"{join.files}: column '{common[0]}' is also in {path}; rename one of them")
            added = [table[name].take(position).combine_chunks() for name in table.column_names]
            rows = pa.RecordBatch.from_arrays([*map(rows.column, kept), *added], kept + table.column_names)
        return rows

    def _load(self, join: Join, columns: list[str]) -> tuple[pa.Array, pa.Table]:
        candidates = [join.on, *(name for name in columns if name != join.on)]
        read = list(read_file(join.files, candidates))
        if malformed := [row for raw in read for row in raw.malformed]:
            number, reason, text = malformed[0]
            raise BadInput(f"{join.files}, row {number}: {reason}: {text}. Correct it; a joined table has to be whole.")
        batches = [raw.rows for raw in read]
        if not any(rows.num_rows for rows in batches) and not column_names(join.files):
            raise BadInput(
                f"{join.files}: expected a table to join, found no rows. Replace it, or remove it from `sources`."
            )
        present = [name for name in candidates if all(name in rows.schema.names for rows in batches)]
        _require(pa.table({name: [] for name in present}), join.on, join.files, "`join`")
        keys = pa.concat_arrays([rows[join.on].cast(pa.string()) for rows in batches])
        tables = [pa.Table.from_batches([rows]).select(present[1:]) for rows in batches]
        try:  # Batches of JSON Lines may differ in types.
            schema = pa.unify_schemas([table.schema for table in tables])
            table = pa.concat_tables([table.cast(schema) for table in tables])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:  # pyarrow 23 raises the latter.
            raise BadInput(f"{join.files}: a column has several types: {error}. Convert it to one type.") from error
        if len(keys.unique()) < len(keys):
            raise BadInput(f"{join.files}: column '{join.on}' must be unique to join on, found repeated values")
        return keys, table


def _require(rows: pa.RecordBatch | pa.Table, column: str, path: str, use: str) -> None:
    if column not in rows.schema.names:
        columns = ", ".join(column_names(path) or rows.schema.names)
        raise BadInput(f"{path}: column '{column}' of {use} is missing; found: {columns}")
