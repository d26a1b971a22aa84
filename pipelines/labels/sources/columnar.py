"""Parquet and ORC as formats of logs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, ClassVar

import pyarrow as pa
import pyarrow.orc as po
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401 - fixes a vulnerability in reading untrusted Arrow files

from features.errors import BadInput
from features.raw_columns import uuid_text
from pipelines.labels.sources import nested, undecodable
from pipelines.labels.sources.formats import Format, Piece, RawBatch, Request, TypedFormat, Wanted


class Parquet(Format):
    """Parquet, whose parts are row groups. Of structs, only the fields that are wanted are read."""

    name: ClassVar[str] = "parquet"
    extensions: ClassVar[tuple[str, ...]] = (".parquet",)

    def parts(self, file: IO[bytes]) -> Iterable[int]:
        """See base class."""
        return range(pq.ParquetFile(file).num_row_groups)

    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """See base class."""
        return pq.ParquetFile(file).schema_arrow

    def has_rows(self, file: IO[bytes]) -> bool:
        """See base class."""
        return pq.ParquetFile(file).metadata.num_rows > 0

    def beyond(self, path: str, error: BaseException) -> str:
        """See base class."""
        return undecodable.explanation(path, error)

    def read(self, file: IO[bytes], piece: Piece, request: Request) -> Iterator[RawBatch]:
        """See base class."""
        # With a buffer, columns are read a part at a time, else those of the whole row group at once.
        parquet, group = pq.ParquetFile(file, buffer_size=request.bytes if request.small else 0), piece.part or 0
        schema, names = parquet.schema_arrow, of_table(parquet.schema_arrow, piece)
        renamed = pa.schema([field.with_name(names[field.name]) for field in schema]) if names else schema
        layout = nested.Layout(renamed, request.explode, piece.path)
        wanted = Wanted(layout, request)
        start = sum(parquet.metadata.row_group(earlier).num_rows for earlier in range(group))
        places = [place for of in wanted.places.values() for place in of]
        leaves = {i: parquet.schema.column(i) for place in places for i in layout.leaves(place)}
        if layout.list is not None and not any(place.of_element for place in places):
            first = layout.leaves(nested.Place((), of_element=True))[0]  # For the lengths of the lists.
            leaves[first] = parquet.schema.column(first)
        # Arrow has no type for UUIDs before version 18.
        types = {name: leaves[layout.leaves(place)[0]].logical_type.type for name, (place, *_) in wanted.places.items()}
        convert = {name: uuid_text for name, kind in types.items() if kind == "UUID"}
        paths = [leaf.path for leaf in leaves.values()]
        for batch in parquet.iter_batches(request.rows, row_groups=[group], columns=paths):
            if names:
                batch = pa.RecordBatch.from_arrays(batch.columns, [names[name] for name in batch.schema.names])
            yield from wanted.rows(batch, start, convert)
            start += batch.num_rows


def of_table(schema: pa.Schema, piece: Piece) -> dict[str, str]:
    """The table's name of each column of a file of Iceberg, by its id; of one that the table has no more, no column's name.

    Raises:
        BadInput: a field within a column has another name in the table.
    """
    fields = {} if piece.of is None or piece.of.schema is None else _by_id(piece.of.schema, "id")
    own = _by_id(schema, "PARQUET:field_id")
    if not fields or not own:
        return {}
    for number, field in own.items():
        if number in fields:
            _check_names(field, fields[number], piece.path)
    return {field.name: fields[number].name if number in fields else f"\0{field.name}" for number, field in own.items()}


def _by_id(fields: Iterable[pa.Field], key: str) -> dict[bytes, pa.Field]:
    return {field.metadata[key.encode()]: field for field in fields if key.encode() in (field.metadata or {})}


def _check_names(field: pa.Field, of: pa.Field, path: str) -> None:
    if pa.types.is_struct(field.type) and pa.types.is_struct(of.type):
        inner = _by_id(of.type, "id")
        for number, child in _by_id(field.type, "PARQUET:field_id").items():
            if number in inner and inner[number].name != child.name:
                raise BadInput(
                    f"{path}: field '{child.name}' of column '{field.name}' is '{inner[number].name}' in the table since. "
                    "Rewrite the data files (rewrite_data_files) to read the table."
                )
            if number in inner:
                _check_names(child, inner[number], path)


class Orc(TypedFormat):
    """ORC, a stripe at a time."""

    name: ClassVar[str] = "orc"
    extensions: ClassVar[tuple[str, ...]] = (".orc",)

    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """See base class."""
        return po.ORCFile(file).schema

    def has_rows(self, file: IO[bytes]) -> bool:
        """See base class."""
        return po.ORCFile(file).nrows > 0

    def batches(
        self, file: IO[bytes], part: int | None, columns: Sequence[str], request: Request
    ) -> Iterator[pa.RecordBatch]:
        """See base class."""
        orc = po.ORCFile(file)
        names = None if any("." in name for name in columns) else list(columns)  # A dot is of a field there.
        for stripe in range(orc.nstripes):
            batch = orc.read_stripe(stripe, columns=names)
            for begin in range(0, batch.num_rows, request.rows):
                yield batch.slice(begin, request.rows)
