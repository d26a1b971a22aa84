"""Reading Parquet, CSV and JSON Lines files as Arrow batches of raw columns, with the row number in the file."""

import codecs
import csv
import dataclasses
import gzip
import re
import urllib.parse
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401 - fixes a vulnerability in reading untrusted Arrow files

from features.errors import BadInput
from features.raw_columns import NULL_WORDS, plain, uuid_text, without_offset
from pipelines.core import files
from pipelines.labels.sources import csv_rows, json_lines, nested, undecodable
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
    csv.Error,
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a file that can be read on its own, that is a row group of a Parquet file or a whole text file."""

    path: str
    row_group: int | None = None


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """A batch of rows of a file.

    Attributes:
        rows: raw columns of n rows.
        numbers: int64 [n], number of each row in the file, from 1 for the first after the header; in JSON Lines, that of the
            line.
        malformed: (number, reason, text) of each row that could not be parsed.
        seen: the file's columns; of JSON Lines, those that a line of the batch has.
        empty: number of rows of the file that have no element to explode.
        unusable: bool [n], mask of the cells that can't be read, and are null, by (column, reason).
    """

    rows: pa.RecordBatch
    numbers: np.ndarray
    malformed: list[tuple[int, str, str]]
    seen: frozenset[str] = frozenset()
    empty: int = 0
    unusable: Mapping[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cells:
    """What the cells of some columns may be.

    Attributes:
        lists: columns of lists. JSON Lines tell them by this, for they are read as text or lists of text.
        numbers: columns that are rounded to floats anyway, for which JSON Lines need not be read as text.
        optional: columns whose cells may be missing. In others, a cell that can't be read makes the row malformed.
    """

    lists: Collection[str] = ()
    numbers: Collection[str] = ()
    optional: Collection[str] = ()


def pieces(path: str) -> list[Piece]:
    """Lists the parts of a file that can be read in parallel."""
    if file_format(path) != "parquet":
        return [Piece(path)]
    with _readable(path), files.open_binary(path) as file:
        return [Piece(path, group) for group in range(pq.ParquetFile(file).num_row_groups)]


def read(
    piece: Piece,
    columns: Sequence[str],
    source: TableSource | None = None,
    cells: Cells = Cells(),
    null_values: Sequence[str] | None = None,
    small: bool = False,
) -> Iterator[RawBatch]:
    """Reads a piece, with `explode` of its source if it has one, but without `where` and `join`.

    Columns that a Parquet or CSV file lacks are absent from the batches.

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
    rows, block = (
        (min(_FEW_ROWS, _BATCH_ROWS), min(_SMALL_BLOCK, _BLOCK_BYTES)) if small else (_BATCH_ROWS, _BLOCK_BYTES)
    )
    explode = source.explode if source else None
    with _readable(piece.path):
        kind = file_format(piece.path)
        with files.open_binary(piece.path) as raw:
            file = _unzipped(raw, piece.path)
            if kind == "parquet":
                batches = _parquet(file, piece, columns, explode, rows, block if small else 0)
            elif kind == "csv":
                words = NULL_WORDS if null_values is None else ("", *null_values)
                if explode:
                    column_names(piece.path, source)  # CSV has no lists.
                table = csv_rows.CsvTable(
                    [], list(columns), _delimiter(piece.path, source), tuple(words), cells.optional
                )
                batches = _csv(file, table, piece.path, block)
            else:
                parser = json_lines.Parser(columns, cells.lists, cells.numbers, explode, cells.optional)
                batches = _jsonl(file, parser, rows, block)
            if null_values and kind != "csv":
                batches = _without(batches, pa.array(null_values))
            of_path = {name: value for name, value in path_columns(piece.path).items() if name in columns}
            yield from (_with_path(batch, of_path, kind) for batch in batches) if of_path else batches


def read_file(
    path: str,
    columns: Sequence[str],
    cells: Cells = Cells(),
    null_values: Sequence[str] | None = None,
) -> Iterator[RawBatch]:
    """Reads all pieces of a file in small batches; without rows, one of the columns of its header, or of all if it has none.

    Args:
        path: the file.
        columns: see `read`.
        cells: see `read`.
        null_values: see `read`.

    Raises:
        BadInput: see `read`.
    """
    empty = True
    for piece in pieces(path):
        for batch in read(piece, columns, None, cells, null_values, small=True):
            empty = False
            yield batch
    if empty:
        header = _schema(path, None)
        layout = nested.Layout(header, None, path)
        known = {name: layout.kind(places[0]) for name in columns if (places := layout.places(name))}
        fields = known if header.names else dict.fromkeys(columns, pa.string())
        nothing = [pa.array([], kind) for kind in fields.values()]
        batch = RawBatch(
            pa.RecordBatch.from_arrays(nothing, list(fields)), np.zeros(0, np.int64), [], frozenset(fields)
        )
        yield _with_path(batch, {name: value for name, value in path_columns(path).items() if name in columns}, "")


def column_names(path: str, source: TableSource | None = None) -> list[str]:
    """Lists the columns of a Parquet or CSV file, with the fields of structs, and of its path; none of JSON Lines, which have
    no header.

    Raises:
        BadInput: the file is damaged, or has no list of the name to explode.
    """
    schema = _schema(path, source)
    names = nested.Layout(schema, source.explode if source and schema.names else None, path).names()
    return list(dict.fromkeys([*names, *path_columns(path)])) if names else []


def path_columns(path: str) -> dict[str, str | None]:
    """Columns that stand in the path of a file, as in `country=de/dt=2025-05-20/part-0.parquet`."""
    parts = (part.partition("=") for part in path.split("/")[:-1] if re.fullmatch(r"[^=]+=.*", part))
    return {name: None if value in _NO_VALUE else urllib.parse.unquote(value) for name, _, value in parts}


def has_rows(path: str) -> bool:
    """Whether a Parquet or CSV file has anything after its header."""
    with _readable(path), files.open_binary(path) as raw:
        if file_format(path) == "parquet":
            return pq.ParquetFile(raw).metadata.num_rows > 0
        file = _unzipped(raw, path)
        return bool(_header(file, ",")) and any(block.strip(b"\r\n") for block in iter(lambda: file.read(1 << 16), b""))


def _unzipped(file, path: str):
    """A file, or what it holds if its name says that it is gzipped."""
    return gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file


def _delimiter(path: str, source: TableSource | None) -> str:
    default = "\t" if path.removesuffix(".gz").endswith(".tsv") else ","
    return (source.delimiter if source else None) or default


def _with_path(batch: RawBatch, of_path: dict[str, str | None], kind: str) -> RawBatch:
    """The batch with the columns of the path that the file has not; of JSON Lines, that a line has not."""
    columns = dict(zip(batch.rows.schema.names, batch.rows.columns, strict=True))
    for name, value in of_path.items():
        if name not in columns:
            columns[name] = pa.array([value], pa.string()).take(pa.array(np.zeros(len(batch.numbers), np.int64)))
        elif kind == "jsonl" and value is not None and pa.types.is_string(columns[name].type):
            columns[name] = columns[name].fill_null(value)
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return dataclasses.replace(batch, rows=rows, seen=batch.seen | set(of_path))


def _schema(path: str, source: TableSource | None) -> pa.Schema:
    """Columns of a file, of CSV as text; none of JSON Lines."""
    kind = file_format(path)
    if kind not in ("parquet", "csv"):
        return pa.schema([])
    with _readable(path), files.open_binary(path) as raw:
        if kind == "parquet":
            return pq.ParquetFile(raw).schema_arrow
        file = _unzipped(raw, path)
        return pa.schema([(name, pa.string()) for name in _header(file, _delimiter(path, source))])


class _readable:
    """Converts exceptions that a damaged file raises to `BadInput` with the path."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, _UNREADABLE):
            kind = file_format(self.path)
            if kind == "parquet" and (beyond := undecodable.explanation(self.path, error)):
                raise BadInput(beyond) from error
            raise BadInput(
                f"{self.path} can't be read as {kind}: {error}. "
                "The file is damaged or its extension is wrong; replace it, or remove it from `sources`."
            ) from error


def _parquet(
    file, piece: Piece, columns: Sequence[str], explode: str | None, size: int, buffer: int
) -> Iterator[RawBatch]:
    # With a buffer, columns are read a part at a time, else those of the whole row group at once.
    parquet, group = pq.ParquetFile(file, buffer_size=buffer), piece.row_group or 0
    layout = nested.Layout(parquet.schema_arrow, explode, piece.path)
    start = sum(parquet.metadata.row_group(earlier).num_rows for earlier in range(group))
    places = {name: found for name in columns if (found := layout.places(name))}
    seen = frozenset([*places, *([] if explode is None else [explode])])
    leaves = {i: parquet.schema.column(i) for of in places.values() for place in of for i in layout.leaves(place)}
    if layout.list is not None and not any(place.of_element for of in places.values() for place in of):
        first = layout.leaves(nested.Place((), of_element=True))[0]  # For the lengths of the lists.
        leaves[first] = parquet.schema.column(first)
    uuids = {name for name, (place, *_) in places.items() if _is_uuid(leaves[layout.leaves(place)[0]])}
    names = [leaf.path for leaf in leaves.values()]
    for batch in parquet.iter_batches(size, row_groups=[group], columns=names):
        if batch.num_rows:  # Without rows, types and columns may be others.
            numbers = np.arange(start, start + batch.num_rows) + 1
            fields = dict(zip(batch.schema.names, batch.columns, strict=True))
            exploded = layout.exploded(fields)
            for part in [slice(0, batch.num_rows)] if exploded is None else nested.parts(exploded.owners, size):
                values = {name: nested.values(of, fields, exploded, part) for name, of in places.items()}
                values |= {name: uuid_text(values[name]) for name in uuids}
                rows = pa.RecordBatch.from_arrays(list(values.values()), list(values))
                of = part if exploded is None else exploded.owners[part]
                yield RawBatch(rows, numbers[of], [], seen, exploded.empty if exploded and not part.start else 0)
        start += batch.num_rows


def _without(batches: Iterable[RawBatch], words: pa.Array) -> Iterator[RawBatch]:
    """The batches with null in place of the words in columns of text."""
    for raw in batches:
        columns = {name: plain(raw.rows[name]) for name in raw.rows.schema.names}
        for name, column in columns.items():
            if pa.types.is_string(column.type):
                text = without_offset(column)
                columns[name] = pc.if_else(pc.is_in(text, value_set=words), pa.scalar(None, pa.string()), text)
        yield dataclasses.replace(raw, rows=pa.RecordBatch.from_pydict(columns))


def _is_uuid(leaf: pq.ColumnSchema) -> bool:
    """Whether a column holds UUIDs, which Arrow has no type for before version 18."""
    return leaf.logical_type.type == "UUID"


def _header(file, delimiter: str) -> list[str]:
    """Reads the header of a CSV file, after any empty lines, and leaves the file positioned at the first row."""
    head = b""
    while piece := file.readline():
        head += piece
        if head.endswith(b"\n") and head.strip(codecs.BOM_UTF8 + b"\r\n"):
            break
    return next(csv.reader([head.decode("utf-8-sig").strip("\r\n")], delimiter=delimiter), [])


def _csv(file, table: csv_rows.CsvTable, path: str, size: int) -> Iterator[RawBatch]:
    names = _header(file, table.delimiter)
    for name in table.wanted:
        if names.count(name) > 1:
            raise nested.twice(path, name)
    for found in csv_rows.read(file, dataclasses.replace(table, names=names), size):
        yield RawBatch(found.rows, found.numbers, found.malformed, frozenset(names), unusable=found.unusable)


def _jsonl(file, parser: json_lines.Parser, size: int, block_size: int) -> Iterator[RawBatch]:
    """Lines may lack a field, which is then null."""
    start, rest, ended = 0, file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8), False
    while not ended:
        block = file.read(block_size)
        ended = not block
        whole, newline, rest = (rest, b"", b"") if ended else (rest + block).rpartition(b"\n")
        lines = list(map(bytes.strip, whole.split(b"\n"))) if whole or newline else []
        filled = np.flatnonzero(np.fromiter(map(len, lines), np.int64, len(lines)))
        for index in (filled[i : i + size] for i in range(0, len(filled), size)):
            some, numbers = [lines[i] for i in index.tolist()], start + 1 + index
            parsed = parser.parse(some)
            malformed = [(int(numbers[i]), why, some[i].decode("utf-8", "replace")) for i, why in parsed.malformed]
            for part in nested.parts(parsed.index, size):
                rows, first = parsed.rows.slice(part.start, part.stop - part.start), part.start == 0
                counted = (malformed if first else [], parsed.seen, parsed.empty if first else 0)
                unusable = {key: cells[part] for key, cells in parsed.unusable.items()}
                yield RawBatch(rows, numbers[parsed.index[part]], *counted, unusable)
        start += len(lines)
