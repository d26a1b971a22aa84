"""Reading a table's files as Arrow batches of raw columns, with the place of each row in its file."""

import csv
import dataclasses
import gzip
import io
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pyarrow_hotfix  # noqa: F401 - closes a hole in reading foreign Arrow files

from features.errors import MalTfError
from pipelines import files
from pipelines.sources.tables import Join, TableSource, file_format

_BATCH_ROWS = 65_536
_BLOCK_BYTES = 16 << 20
_UNREADABLE = (
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
    csv.Error,
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a file that is read on its own: one row group of a Parquet file, or a whole text file."""

    path: str
    row_group: int | None = None


@dataclasses.dataclass(frozen=True)
class RawBatch:
    """Rows of a file.

    Attributes:
        rows: raw columns.
        numbers: int64, the row's number in the file, 1 is the first after the header; in JSON Lines, the line's.
        malformed: rows that could not be split into columns: (number, reason, text).
    """

    rows: pa.RecordBatch
    numbers: np.ndarray
    malformed: list[tuple[int, str, str]]


def pieces(path: str) -> list[Piece]:
    """The parts of a file that may be read in parallel."""
    if file_format(path) != "parquet":
        return [Piece(path)]
    with _readable(path), files.open_binary(path) as file:
        return [Piece(path, group) for group in range(pq.ParquetFile(file).num_row_groups)]


def read(piece: Piece, columns: list[str], source: TableSource) -> Iterator[RawBatch]:
    """Reads a piece, with `explode`, but without `where` and `join`.

    Columns that the file lacks are absent from the batches.

    Raises:
        MalTfError: the file is damaged, or not of the format its name says.
    """
    with _readable(piece.path):
        kind = file_format(piece.path)
        with files.open_binary(piece.path) as raw:
            file = gzip.GzipFile(fileobj=raw) if piece.path.endswith(".gz") else raw
            if kind == "parquet":
                yield from _parquet(file, piece.row_group, columns)
            elif kind == "csv":
                yield from _csv(file, columns)
            else:
                yield from _jsonl(file, columns, source.explode)


class _readable:
    """Turns whatever a damaged file raises into a message that names it."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, _UNREADABLE):
            raise MalTfError(
                f"{self.path} can't be read as {file_format(self.path)}: {error}. "
                "The file is damaged or not what its name says; fetch it again, or take it out of `sources`."
            ) from error


def _parquet(file, row_group: int, columns: list[str]) -> Iterator[RawBatch]:
    parquet = pq.ParquetFile(file)
    start = sum(parquet.metadata.row_group(group).num_rows for group in range(row_group))
    present = [name for name in columns if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[row_group], columns=present):
        yield RawBatch(batch, np.arange(start, start + batch.num_rows) + 1, [])
        start += batch.num_rows


def _csv(file, columns: list[str]) -> Iterator[RawBatch]:
    # Every column is read as text: inference differs from block to block and spoils ids such as 007.
    head = b""
    while not head.endswith(b"\n"):
        piece = file.readline()
        if not piece:
            break
        head += piece
    names = next(csv.reader([head.decode("utf-8-sig")]), [])
    malformed: list[tuple[int, str, str]] = []

    def keep(row) -> str:
        reason = f"wrong columns: expected {row.expected_columns}, found {row.actual_columns}"
        malformed.append((row.number or 0, reason, row.text))
        return "skip"

    body = io.BufferedReader(file) if isinstance(file, gzip.GzipFile) else file
    try:
        reader = pyarrow.csv.open_csv(
            body,
            pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False, column_names=names),
            pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[name for name in columns if name in names],
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise
        empty = pa.RecordBatch.from_pydict({name: pa.array([], pa.string()) for name in columns if name in names})
        yield RawBatch(empty, np.zeros(0, np.int64), [])
        return
    start = lost = 0
    for batch in reader:
        found, malformed[:] = list(malformed), []
        # Rows keep their numbers in the file although malformed ones between them are gone.
        gaps = np.array([number for number, _, _ in found], np.int64) - lost - np.arange(len(found))
        index = np.arange(start, start + batch.num_rows) + 1
        yield RawBatch(batch, index + lost + np.searchsorted(gaps, index, side="right"), found)
        start, lost = start + batch.num_rows, lost + len(found)


def _jsonl(file, columns: list[str], explode: str | None) -> Iterator[RawBatch]:
    """Lines may lack a field, which is then null; a field that no line of the file has is a missing column."""
    start, rest, ended, seen = 0, b"", False, set()
    while not ended:
        block = file.read(_BLOCK_BYTES)
        ended = not block
        whole, newline, rest = (rest, b"", b"") if ended else (rest + block).rpartition(b"\n")
        lines = whole.split(b"\n") if whole or newline else []
        filled = np.flatnonzero(np.fromiter(map(len, map(bytes.strip, lines)), np.int64, len(lines)))
        for batch in _parse_lines([lines[i] for i in filled.tolist()], start + 1 + filled, explode):
            seen.update(batch.rows.schema.names)
            yield RawBatch(_with_nulls(batch.rows, columns), batch.numbers, batch.malformed)
        start += len(lines)
    if not seen.issuperset(columns) and seen:
        yield RawBatch(pa.RecordBatch.from_pydict({name: [] for name in sorted(seen)}), np.zeros(0, np.int64), [])


def _with_nulls(rows: pa.RecordBatch, columns: list[str]) -> pa.RecordBatch:
    lacking = [name for name in columns if name not in rows.schema.names]
    nulls = [pa.nulls(rows.num_rows) for _ in lacking]
    return pa.RecordBatch.from_arrays([*rows.columns, *nulls], [*rows.schema.names, *lacking])


def _parse_lines(lines: list[bytes], numbers: np.ndarray, explode: str | None) -> Iterator[RawBatch]:
    """Lines as batches. Lines that can't be parsed together are halved until the bad ones stand alone."""
    if not lines:
        return
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=sum(map(len, lines)) + len(lines) + 1)
    try:
        table = pyarrow.json.read_json(io.BytesIO(b"\n".join(lines)), options)
        reason = None if table.num_rows == len(lines) else "more than one JSON object in a line"
    except pa.ArrowInvalid as error:
        reason = f"not a JSON object, or of other types than the lines beside it: {error}"
    if reason is not None and len(lines) > 1:
        half = len(lines) // 2
        yield from _parse_lines(lines[:half], numbers[:half], explode)
        yield from _parse_lines(lines[half:], numbers[half:], explode)
        return
    if reason is None and explode is not None:
        if explode in table.column_names and pa.types.is_list(table[explode].type):
            table, numbers = _exploded(table.combine_chunks(), numbers, explode)
        else:
            reason = f"no list of objects in '{explode}'; found: {', '.join(table.column_names)}"
    if reason is not None:
        texts = (line.decode("utf-8", "replace") for line in lines)
        malformed = [(number, reason, text) for number, text in zip(numbers.tolist(), texts, strict=True)]
        yield RawBatch(pa.RecordBatch.from_arrays([], []), np.zeros(0, np.int64), malformed)
        return
    for batch in table.combine_chunks().to_batches(_BATCH_ROWS):
        yield RawBatch(batch, numbers[: batch.num_rows], [])
        numbers = numbers[batch.num_rows :]


def _exploded(table: pa.Table, numbers: np.ndarray, explode: str) -> tuple[pa.Table, np.ndarray]:
    """A row per object of the lists in a column, beside the line's other columns, and its line's number."""
    parents = pc.list_parent_indices(table[explode]).combine_chunks()
    objects = pc.list_flatten(table[explode]).combine_chunks()
    if not pa.types.is_struct(objects.type):
        return table.slice(0, 0).drop([explode]), numbers[:0]
    fields = {objects.type[i].name: objects.field(i) for i in range(objects.type.num_fields)}
    others = {name: table[name].take(parents) for name in table.column_names if name not in (explode, *fields)}
    return pa.table(others | fields), numbers[parents.to_numpy()]


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
                raise MalTfError(f"{join.files}: column '{both[0]}' is also in {path}; rename one of them")
            names = rows.schema.names + table.column_names
            added = [table[name].take(place).combine_chunks() for name in table.column_names]
            rows = pa.RecordBatch.from_arrays([*rows.columns, *added], names)
        return rows

    def _load(self, join: Join, columns: list[str]) -> tuple[pa.Array, pa.Table]:
        wanted = [join.on, *(name for name in columns if name != join.on)]
        source = TableSource.model_construct(files=(join.files,), explode=None)
        batches = [raw.rows for piece in pieces(join.files) for raw in read(piece, wanted, source)]
        table = pa.Table.from_batches(batches).select([n for n in wanted if n in batches[0].schema.names])
        _require(table, join.on, join.files, "`join`")
        keys = table[join.on].cast(pa.string()).combine_chunks()
        if len(keys.unique()) < len(keys):
            raise MalTfError(f"{join.files}: column '{join.on}' must be unique to join on, found repeated values")
        return keys, table.drop([join.on])


def _require(rows: pa.RecordBatch | pa.Table, column: str, path: str, use: str) -> None:
    if column not in rows.schema.names:
        raise MalTfError(
            f"{path}: column '{column}' that {use} names is missing; found: {', '.join(rows.schema.names)}"
        )
