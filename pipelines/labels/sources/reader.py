"""Reading Parquet, CSV and JSON Lines files as Arrow batches of raw columns, with the row number in the file."""

import codecs
import csv
import dataclasses
import gzip
import re
import urllib.parse
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401 - fixes a vulnerability in reading untrusted Arrow files

from features.errors import BadInput
from pipelines.core import files
from pipelines.labels.sources import csv_rows, undecodable
from pipelines.labels.sources.tables import TableSource, file_format

_BATCH_ROWS = 65_536  # pyarrow.json accepts at most 100,000.
_BLOCK_BYTES = 16 << 20
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
    """

    rows: pa.RecordBatch
    numbers: np.ndarray
    malformed: list[tuple[int, str, str]]


def pieces(path: str) -> list[Piece]:
    """Lists the parts of a file that can be read in parallel."""
    if file_format(path) != "parquet":
        return [Piece(path)]
    with _readable(path), files.open_binary(path) as file:
        return [Piece(path, group) for group in range(pq.ParquetFile(file).num_row_groups)]


def read(piece: Piece, columns: list[str], source: TableSource | None = None) -> Iterator[RawBatch]:
    """Reads a piece of a file in batches.

    Applies `explode` of the source, if given, but not `where` and `join`. Columns that the file lacks are absent.

    Raises:
        BadInput: the file is damaged, or not of the format of its extension.
    """
    with _readable(piece.path):
        kind = file_format(piece.path)
        with files.open_binary(piece.path) as raw:
            file = gzip.GzipFile(fileobj=raw) if piece.path.endswith(".gz") else raw
            if kind == "parquet":
                batches = _parquet(file, piece.row_group or 0, columns)
            elif kind == "csv":
                batches = _csv(file, columns, _delimiter(piece.path, source))
            else:
                batches = _jsonl(file, columns, source)
            of_path = {name: value for name, value in path_columns(piece.path).items() if name in columns}
            yield from (_with_path(batch, of_path) for batch in batches) if of_path else batches


def read_file(path: str, columns: list[str]) -> Iterator[RawBatch]:
    """Reads all pieces of a file; without rows, one batch of those columns that its header has, or of all if it has none.

    Raises:
        BadInput: see `read`.
    """
    empty = True
    for piece in pieces(path):
        for batch in read(piece, columns):
            empty = False
            yield batch
    if empty:
        header = _schema(path, None)
        known = {name: header.field(name).type for name in columns if name in header.names}
        fields = known if header.names else dict.fromkeys(columns, pa.string())
        nothing = [pa.array([], kind) for kind in fields.values()]
        batch = RawBatch(pa.RecordBatch.from_arrays(nothing, list(fields)), np.zeros(0, np.int64), [])
        yield _with_path(batch, {name: value for name, value in path_columns(path).items() if name in columns})


def column_names(path: str, source: TableSource | None = None) -> list[str]:
    """Lists the columns of a Parquet or CSV file and of its path; none of JSON Lines, which have no header."""
    names = _schema(path, source).names
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
        file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        return bool(_header(file, ",")) and any(block.strip(b"\r\n") for block in iter(lambda: file.read(1 << 16), b""))


def _delimiter(path: str, source: TableSource | None) -> str:
    default = "\t" if path.removesuffix(".gz").endswith(".tsv") else ","
    return (source.delimiter if source else None) or default


def _with_path(batch: RawBatch, of_path: dict[str, str | None]) -> RawBatch:
    """The batch with the columns of the path that the file has not."""
    columns = dict(zip(batch.rows.schema.names, batch.rows.columns, strict=True))
    for name, value in of_path.items():
        if name not in columns or 0 < len(columns[name]) == columns[name].null_count:
            columns[name] = pa.array([value], pa.string()).take(pa.array(np.zeros(len(batch.numbers), np.int64)))
    return dataclasses.replace(batch, rows=pa.RecordBatch.from_arrays(list(columns.values()), list(columns)))


def _schema(path: str, source: TableSource | None) -> pa.Schema:
    """Columns of a file, of CSV as text; none of JSON Lines."""
    kind = file_format(path)
    if kind not in ("parquet", "csv"):
        return pa.schema([])
    with _readable(path), files.open_binary(path) as raw:
        if kind == "parquet":
            return pq.ParquetFile(raw).schema_arrow
        file = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
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


def _parquet(file, row_group: int, columns: list[str]) -> Iterator[RawBatch]:
    parquet = pq.ParquetFile(file)
    start = sum(parquet.metadata.row_group(group).num_rows for group in range(row_group))
    present = [name for name in columns if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[row_group], columns=present):
        if batch.num_rows:  # Without rows, types and columns may be others.
            yield RawBatch(batch, np.arange(start, start + batch.num_rows) + 1, [])
        start += batch.num_rows


def _header(file, delimiter: str) -> list[str]:
    """Reads the header of a CSV file, after any empty lines, and leaves the file positioned at the first row."""
    head = b""
    while piece := file.readline():
        head += piece
        if head.endswith(b"\n") and head.strip(codecs.BOM_UTF8 + b"\r\n"):
            break
    return next(csv.reader([head.decode("utf-8-sig").strip("\r\n")], delimiter=delimiter), [])


def _csv(file, columns: list[str], delimiter: str) -> Iterator[RawBatch]:
    for batch in csv_rows.read(file, csv_rows.CsvTable(_header(file, delimiter), columns, delimiter)):
        yield RawBatch(*batch)


def _jsonl(file, columns: list[str], source: TableSource | None) -> Iterator[RawBatch]:
    """Reads JSON Lines. A field that a line lacks is null; a field that no line has is a missing column."""
    roles = getattr(source, "columns", None)
    time, explode = roles.timestamp if roles else None, source.explode if source else None
    start, rest, ended, fields = 0, file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8), False, set()
    while not ended:
        block = file.read(_BLOCK_BYTES)
        ended = not block
        whole, newline, rest = (rest, b"", b"") if ended else (rest + block).rpartition(b"\n")
        lines = list(map(bytes.strip, whole.split(b"\n"))) if whole or newline else []
        filled = np.flatnonzero(np.fromiter(map(len, lines), np.int64, len(lines)))
        for index in (filled[i : i + _BATCH_ROWS] for i in range(0, len(filled), _BATCH_ROWS)):
            some = [lines[i] for i in index.tolist()]
            for batch in _parse_lines(some, start + 1 + index, explode, time):
                fields.update(batch.rows.schema.names)
                yield RawBatch(_with_nulls(batch.rows, columns), batch.numbers, batch.malformed)
        start += len(lines)
    if not fields.issuperset(columns) and fields:
        yield RawBatch(pa.RecordBatch.from_pydict({name: [] for name in sorted(fields)}), np.zeros(0, np.int64), [])


def _with_nulls(rows: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    lacking = [name for name in columns if name not in rows.schema.names]
    nulls = [pa.nulls(rows.num_rows) for _ in lacking]
    return pa.RecordBatch.from_arrays([*rows.columns, *nulls], [*rows.schema.names, *lacking])


def _parse_lines(lines: list[bytes], numbers: np.ndarray, explode: str | None, time: str | None) -> Iterator[RawBatch]:
    """Parses up to `_BATCH_ROWS` lines into few batches of rows and a last one with all malformed lines."""
    malformed: list[tuple[int, str, str]] = []
    for index, table in _tables(lines, explode, time):
        if not isinstance(table, str) and explode is not None:
            if explode in table.column_names and pa.types.is_list(table[explode].type):
                table, index = _exploded(table.combine_chunks(), index, explode)
            else:
                table = f"no list of objects in '{explode}'; found: {', '.join(table.column_names)}"
        if isinstance(table, str):
            malformed += [(int(numbers[i]), table, lines[i].decode("utf-8", "replace")) for i in index.tolist()]
            continue
        for batch in table.combine_chunks().to_batches(_BATCH_ROWS):
            yield RawBatch(batch, numbers[index[: batch.num_rows]], [])
            index = index[batch.num_rows :]
    if malformed:
        yield RawBatch(pa.RecordBatch.from_arrays([], []), np.zeros(0, np.int64), sorted(malformed))


def _tables(lines: list[bytes], explode: str | None, time: str | None) -> Iterator[tuple[np.ndarray, pa.Table | str]]:
    """Yields positions of lines with the table of these lines, or with the reason why they are malformed.

    All well-formed lines make one table or, if a column has incompatible types, one table per schema.
    """

    def parsed(index: np.ndarray) -> pa.Table | str:
        return _parse([lines[i] for i in index.tolist()], explode, time)

    def bisect(index: np.ndarray) -> None:
        result = parsed(index)
        if not isinstance(result, str):
            by_schema.setdefault(result.schema, []).append(index)
        elif len(index) == 1:
            bad.append((index, result))
        else:
            bisect(index[: len(index) // 2])
            bisect(index[len(index) // 2 :])

    everything = np.arange(len(lines))
    result = parsed(everything)
    if not isinstance(result, str):
        yield everything, result
        return
    by_schema: dict[pa.Schema, list[np.ndarray]] = {}
    bad: list[tuple[np.ndarray, str]] = []
    bisect(everything)
    yield from bad
    good = np.delete(everything, [int(index[0]) for index, _ in bad])
    result = parsed(good) if good.size else ""
    if not isinstance(result, str):
        yield good, result
        return
    for parts in by_schema.values():
        index = np.concatenate(parts)
        yield index, parsed(index)


def _parse(lines: list[bytes], explode: str | None, time: str | None) -> pa.Table | str:
    """Returns the table of the lines, or the reason why they cannot be parsed together."""
    data = b"\n".join(lines)
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        data.decode()
        table = pyarrow.json.read_json(pa.BufferReader(data), options)
        # Type inference reads text such as 2024-01-01 as a time if all lines of the block allow it.
        schema = pa.schema(list(_without_times(pa.struct(list(table.schema)), time, explode)))
        if schema != table.schema:
            explicit = pyarrow.json.ParseOptions(explicit_schema=schema)
            table = pyarrow.json.read_json(pa.BufferReader(data), options, explicit)
    except UnicodeDecodeError:
        return "not UTF-8"
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        return f"not a JSON object, or of other types than the lines beside it: {error}"
    return table if table.num_rows == len(lines) else "more than one JSON object in a line"


def _without_times(kind: pa.DataType, time: str | None, explode: str | None = None) -> pa.DataType:
    """Replaces inferred time types by strings, except in the field `time` of an object and of the objects in `explode`."""
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type, time))
    if not pa.types.is_struct(kind):
        return kind
    return pa.struct(
        [
            field
            if field.name == time and pa.types.is_temporal(field.type)
            else (field.name, _without_times(field.type, time if field.name == explode else None))
            for field in kind
        ]
    )


def _exploded(table: pa.Table, numbers: np.ndarray, explode: str) -> tuple[pa.Table, np.ndarray]:
    """Makes a row of each object in a column of lists, with the other columns and the number of its line."""
    parents = pc.list_parent_indices(table[explode]).combine_chunks()
    objects = pc.list_flatten(table[explode]).combine_chunks()
    if not pa.types.is_struct(objects.type):
        return table.slice(0, 0).drop([explode]), numbers[:0]
    fields = {objects.type[i].name: objects.field(i) for i in range(objects.type.num_fields)}
    others = {name: table[name].take(parents) for name in table.column_names if name not in (explode, *fields)}
    return pa.table(others | fields), numbers[parents.to_numpy()]
