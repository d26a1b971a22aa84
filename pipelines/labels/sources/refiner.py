"""Filtering (`where`) and joining (`join`) raw batches of a table source."""

import dataclasses
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import flat
from features.errors import BadInput
from features.raw_columns import as_identity
from pipelines.labels.sources.formats import Cells, RawBatch
from pipelines.labels.sources.reader import column_names, read_file
from pipelines.labels.sources.tables import Join, TableSource


class Refiner:
    """Applies `where` and `join` of a table source to raw batches, after loading the joined tables once.

    Args:
        source: the table source.
        columns: raw columns required in the result.
        lists: those that hold lists.
    """

    def __init__(self, source: TableSource, columns: list[str], lists: Collection[str] = ()):
        self._source = source
        self._joined = [self._load(join, columns, lists) for join in source.join]

    def read_columns(self, columns: list[str]) -> list[str]:
        """Lists the columns to read from the table's files, that is `columns` and those of `where` and `join`."""
        return list(dict.fromkeys([*columns, *self._source.compared]))

    def where(self, raw: RawBatch, path: str) -> RawBatch:
        """Returns the rows that match `where`."""
        keep = np.ones(raw.rows.num_rows, bool)
        for column, values in self._source.where.items():
            _require(raw.rows, column, path, "`where`")
            text, wanted = _identity(raw.rows[column], column, path), pa.array(values, pa.string())
            keep &= np.asarray(pc.is_in(text, value_set=_identity(wanted, column, "`where`")))
        if keep.all():
            return raw
        return raw.filter(keep)

    def join(self, raw: RawBatch, path: str) -> RawBatch:
        """Returns the rows with the columns of the joined tables added, in place of fields that no line of JSON Lines has."""
        for join, (keys, table) in zip(self._source.join, self._joined, strict=True):
            _require(raw.rows, join.on, path, "`join`")
            # A missing user is not the one without an id in a table of users.
            place = pc.index_in(_identity(raw.rows[join.on], join.on, path), value_set=keys, skip_nulls=True)
            if common := sorted(set(table.column_names) & raw.seen):
                raise BadInput(f"{join.files}: column '{common[0]}' is also in {path}; rename one of them")
            own = {name: raw.rows[name] for name in raw.rows.schema.names if name not in table.column_names}
            added = {name: flat(table[name].take(place)) for name in table.column_names}
            rows = pa.RecordBatch.from_pydict(own | added)
            raw = dataclasses.replace(raw, rows=rows, seen=raw.seen | set(table.column_names))
        return raw.rows

    @property
    def joined(self) -> list[str]:
        """Names of the columns of the joined tables."""
        return [name for _, table in self._joined for name in table.column_names]

    def _load(self, join: Join, columns: list[str], lists: Collection[str]) -> tuple[pa.Array, pa.Table]:
        candidates = [join.on, *(name for name in columns if name != join.on)]
        found = list(read_file(join.files, candidates, Cells(lists), self._source.null_values))
        if malformed := [row for raw in found for row in raw.malformed]:
            number, reason, text = malformed[0]
            raise BadInput(f"{join.files}, row {number}: {reason}: {text}. Correct it; a joined table has to be whole.")
        if not any(raw.rows.num_rows for raw in found) and not column_names(join.files):
            raise BadInput(
                f"{join.files}: expected a table to join, found no rows. Replace it, or remove it from `sources`."
            )
        seen = frozenset().union(*(raw.seen for raw in found))
        present = [name for name in candidates if name in seen]
        _require(pa.table({name: [] for name in present}), join.on, join.files, "`join`")
        table = pa.Table.from_batches([raw.rows for raw in found]).select(present).combine_chunks()
        keys = _identity(flat(table[join.on]), join.on, join.files)
        if len(keys.unique()) < len(keys):
            raise BadInput(f"{join.files}: column '{join.on}' must be unique to join on, found repeated values")
        return keys, table.select(present[1:])


def _identity(column: pa.Array, name: str, path: str) -> pa.Array:
    return as_identity(column, f"{path}: column '{name}'")[0]


def _require(rows: pa.RecordBatch | pa.Table, column: str, path: str, use: str) -> None:
    if column not in rows.schema.names:
        columns = ", ".join(column_names(path) or rows.schema.names)
        raise BadInput(f"{path}: column '{column}' of {use} is missing; found: {columns}")
