"""Reading files of any format as Arrow batches of raw columns, with the row number in the file."""

import contextlib
import dataclasses
import gzip
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from features.raw_columns import plain, without_offset
from pipelines.core import files
from pipelines.labels.sources import lake, nested
from pipelines.labels.sources.formats import ANY_CELLS, Cells, DataFile, Piece, RawBatch, Request
from pipelines.labels.sources.tables import TableSource, file_format

_BATCH_ROWS = 65_536
_BLOCK_BYTES = 16 << 20

#: The same for callers that hold much else in memory, as TensorFlow.
_FEW_ROWS, _SMALL_BLOCK = 8192, 1 << 20
_NO_VALUE = ("", "__HIVE_DEFAULT_PARTITION__")
_UNREADABLE = (
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
    pa.ArrowTypeError,
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
)


def pieces(file: str | DataFile, source: TableSource | None = None) -> list[Piece]:
    """Lists the parts of a file that can be read in parallel.

    Args:
        file: path of the file, or the file.
        source: the table that it is of.
    """
    path, of = (file, None) if isinstance(file, str) else (file.path, file)
    kind = file_format(path, source)
    if kind.text:
        return [Piece(path, None, of)]
    with _readable(path, source), _opened(path) as opened:
        return [Piece(path, part, of) for part in kind.parts(opened)]


def read(
    piece: Piece,
    columns: Sequence[str],
    source: TableSource | None = None,
    cells: Cells = ANY_CELLS,
    null_values: Sequence[str] | None = None,
    small: bool = False,
) -> Iterator[RawBatch]:
    """Reads a piece, with `explode` of its source if it has one, but without `where` and `join`.

    Columns that a file with a schema or header lacks are absent from the batches.

    Args:
        piece: what is read.
        columns: names of the columns.
        source: the table that the file is of.
        cells: what the cells of some columns may be.
        null_values: words for null beside the empty text; by default `NULL_WORDS` in CSV and none in other formats.
        small: whether batches are small.

    Raises:
        BadInput: the file is damaged, or not of the format its name says.
    """
    path, kind = piece.path, file_format(piece.path, source)
    rows, block = (
        (min(_FEW_ROWS, _BATCH_ROWS), min(_SMALL_BLOCK, _BLOCK_BYTES)) if small else (_BATCH_ROWS, _BLOCK_BYTES)
    )
    words = kind.null_words or () if null_values is None else ("", *null_values)
    explode = source.explode if source else None
    request = Request(columns, cells, explode, _delimiter(path, source), words, rows, block, small)
    with _readable(path, source), _opened(path) as file:
        batches = kind.read(file, piece, request)
        if null_values and kind.null_words is None:
            batches = _without(batches, pa.array(null_values))
        if piece.of is not None and piece.of.schema is not None:
            yield from (_of_table(batch, piece.of, columns) for batch in batches)
            return
        of_path = {name: value for name, value in path_columns(path).items() if name in columns}
        yield from (_with_path(batch, of_path, kind.sparse) for batch in batches) if of_path else batches


def read_file(
    path: str,
    columns: Sequence[str],
    cells: Cells = ANY_CELLS,
    null_values: Sequence[str] | None = None,
) -> Iterator[RawBatch]:
    """Reads all pieces of a file in small batches; without rows, one of the columns of its header, or of all if it has none.

    Args:
        path: the file, or the folder of a Delta or Iceberg table, whose newest version is read.
        columns: see `read`.
        cells: see `read`.
        null_values: see `read`.

    Raises:
        BadInput: see `read`.
    """
    empty, table = True, lake.newest(path)
    for piece in (piece for file in (table.files if table else [path]) for piece in pieces(file)):
        for batch in read(piece, columns, None, cells, null_values, small=True):
            empty = False
            yield batch
    if empty:
        header = table.schema if table else _schema(path, None)
        layout = nested.Layout(header, None, path)
        known = {name: layout.kind(places[0]) for name in columns if (places := layout.places(name))}
        fields = known if header.names else dict.fromkeys(columns, pa.string())
        nothing = [pa.array([], kind) for kind in fields.values()]
        batch = RawBatch(
            pa.RecordBatch.from_arrays(nothing, list(fields)), np.zeros(0, np.int64), [], frozenset(fields)
        )
        yield _with_path(batch, {name: value for name, value in path_columns(path).items() if name in columns}, False)


def column_names(path: str, source: TableSource | None = None) -> list[str]:
    """Lists the columns of a file, with the fields of structs, and of its path; none of JSON Lines, which have no header.

    Raises:
        BadInput: the file is damaged, or has no list of the name to explode.
    """
    of_table = lake.newest(path) if source is None else source.snapshot
    schema = _schema(path, source) if of_table is None else of_table.schema
    names = nested.Layout(schema, source.explode if source and schema.names else None, path).names()
    more = path_columns(path) if of_table is None else {}
    return list(dict.fromkeys([*names, *more])) if names else []


def path_columns(path: str) -> dict[str, str | None]:
    """Columns that stand in the path of a file, as in `country=de/dt=2025-05-20/part-0.parquet`."""
    parts = (part.partition("=") for part in path.split("/")[:-1] if re.fullmatch(r"[^=]+=.*", part))
    return {name: None if value in _NO_VALUE else urllib.parse.unquote(value) for name, _, value in parts}


def has_rows(path: str, source: TableSource | None = None) -> bool:
    """Whether a file has anything after its header."""
    with _readable(path, source), _opened(path) as file:
        return file_format(path, source).has_rows(file)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """A file, or what it holds if its name says that it is gzipped."""
    with files.open_binary(path) as raw:
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw


def _delimiter(path: str, source: TableSource | None) -> str:
    default = "\t" if path.removesuffix(".gz").endswith(".tsv") else ","
    return (source.delimiter if source else None) or default


def _with_path(batch: RawBatch, of_path: dict[str, str | None], sparse: bool) -> RawBatch:
    """The batch with the columns of the path that the file has not; if sparse, that a row has not."""
    columns = dict(zip(batch.rows.schema.names, batch.rows.columns, strict=True))
    for name, value in of_path.items():
        if name not in columns:
            columns[name] = pa.array([value], pa.string()).take(pa.array(np.zeros(len(batch.numbers), np.int64)))
        elif sparse and value is not None and pa.types.is_string(columns[name].type):
            columns[name] = columns[name].fill_null(value)
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return dataclasses.replace(batch, rows=rows, seen=batch.seen | set(of_path))


def _of_table(raw: RawBatch, of: DataFile, wanted: Sequence[str]) -> RawBatch:
    """The rows that a Delta or Iceberg table has, with all of its columns that are wanted."""
    columns, layout = (
        dict(zip(raw.rows.schema.names, raw.rows.columns, strict=True)),
        nested.Layout(of.schema, None, of.path),
    )
    for name in wanted:
        if not (places := layout.places(name)):
            continue
        kind = layout.kind(places[0])
        if name in of.constants:
            value = of.constants[name]
            value = str(value) if value is not None and pa.types.is_string(kind) else value  # UUIDs.
            columns[name] = pa.array([value], kind).take(pa.array(np.zeros(len(raw.numbers), np.int64)))
        elif name not in columns:
            columns[name] = pa.nulls(len(raw.numbers), kind)
        elif pa.types.is_timestamp(kind) and pa.types.is_timestamp(columns[name].type):  # INT96 has no zone.
            columns[name] = columns[name].cast(pa.timestamp(columns[name].type.unit, kind.tz))
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    whole = dataclasses.replace(raw, rows=rows, seen=raw.seen | set(columns))
    return whole if of.deleted is None else whole.filter(~np.isin(raw.numbers - 1, of.deleted))


def _schema(path: str, source: TableSource | None) -> pa.Schema:
    """Columns of a file, of CSV as text; none of JSON Lines."""
    with _readable(path, source), _opened(path) as file:
        return file_format(path, source).schema(file, _delimiter(path, source))


class _readable:
    """Converts exceptions that a damaged file raises to `BadInput` with the path."""

    def __init__(self, path: str, source: TableSource | None = None):
        self.path, self.source = path, source

    def __enter__(self):
        return self

    def __exit__(self, _, error, trace):
        if error is not None and isinstance(
            error, (*_UNREADABLE, *(kind := file_format(self.path, self.source)).errors)
        ):
            if beyond := kind.beyond(self.path, error):
                raise BadInput(beyond) from error
            raise BadInput(
                f"{self.path} can't be read as {kind.name}: {error}. "
                "The file is damaged or its extension is wrong; replace it, or remove it from `sources`."
            ) from error


def _without(batches: Iterable[RawBatch], words: pa.Array) -> Iterator[RawBatch]:
    """The batches with null in place of the words in columns of text."""
    for raw in batches:
        columns = {name: plain(raw.rows[name]) for name in raw.rows.schema.names}
        for name, column in columns.items():
            if pa.types.is_string(column.type):
                text = without_offset(column)
                columns[name] = pc.if_else(pc.is_in(text, value_set=words), pa.scalar(None, pa.string()), text)
        yield dataclasses.replace(raw, rows=pa.RecordBatch.from_pydict(columns))
