"""CSV and JSON Lines as formats of logs."""

import codecs
import csv
from collections.abc import Iterator
from typing import IO, ClassVar

import numpy as np
import pyarrow as pa

from features.raw_columns import NULL_WORDS
from pipelines.labels.sources import csv_rows, json_lines, nested
from pipelines.labels.sources.formats import Format, Piece, RawBatch, Request


class Csv(Format):
    """CSV with a header."""

    name: ClassVar[str] = "csv"
    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    text: ClassVar[bool] = True
    null_words: ClassVar[tuple[str, ...] | None] = tuple(NULL_WORDS)
    errors: ClassVar[tuple[type[Exception], ...]] = (csv.Error,)

    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """See base class; every column is text."""
        return pa.schema([(name, pa.string()) for name in _header(file, delimiter)])

    def has_rows(self, file: IO[bytes]) -> bool:
        """See base class."""
        return bool(_header(file, ",")) and any(block.strip(b"\r\n") for block in iter(lambda: file.read(1 << 16), b""))

    def read(self, file: IO[bytes], piece: Piece, request: Request) -> Iterator[RawBatch]:
        """See base class."""
        names = _header(file, request.delimiter)
        if request.explode:  # CSV has no lists.
            nested.Layout(pa.schema([(name, pa.string()) for name in names]), request.explode, piece.path)
        for name in request.columns:
            if names.count(name) > 1:
                raise nested.twice(piece.path, name)
        words, optional = tuple(request.null_values), request.cells.optional
        table = csv_rows.CsvTable(names, list(request.columns), request.delimiter, words, optional)
        for found in csv_rows.read(file, table, request.bytes):
            yield RawBatch(found.rows, found.numbers, found.malformed, frozenset(names), unusable=found.unusable)


class JsonLines(Format):
    """JSON Lines, which may lack a field that is then null."""

    name: ClassVar[str] = "jsonl"
    extensions: ClassVar[tuple[str, ...]] = (".jsonl", ".json")
    text: ClassVar[bool] = True
    sparse: ClassVar[bool] = True

    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """See base class; there is no header."""
        return pa.schema([])

    def has_rows(self, file: IO[bytes]) -> bool:
        """See base class."""
        return any(block.strip() for block in iter(lambda: file.read(1 << 16), b""))

    def read(self, file: IO[bytes], piece: Piece, request: Request) -> Iterator[RawBatch]:
        """See base class."""
        cells, size = request.cells, request.rows
        parser = json_lines.Parser(request.columns, cells.lists, cells.numbers, request.explode, cells.optional)
        start, rest, ended = 0, file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8), False
        while not ended:
            block = file.read(request.bytes)
            ended = not block
            whole, newline, rest = (rest, b"", b"") if ended else (rest + block).rpartition(b"\n")
            lines = list(map(bytes.strip, whole.split(b"\n"))) if whole or newline else []
            filled = np.flatnonzero(np.fromiter(map(len, lines), np.int64, len(lines)))
            for index in (filled[i : i + size] for i in range(0, len(filled), size)):
                yield from _parsed(parser, [lines[i] for i in index.tolist()], start + 1 + index, size)
            start += len(lines)


def _parsed(parser: json_lines.Parser, lines: list[bytes], numbers: np.ndarray, size: int) -> Iterator[RawBatch]:
    parsed = parser.parse(lines)
    malformed = [(int(numbers[i]), why, lines[i].decode("utf-8", "replace")) for i, why in parsed.malformed]
    for part in nested.parts(parsed.index, size):
        rows, first = parsed.rows.slice(part.start, part.stop - part.start), part.start == 0
        counted = (malformed if first else [], parsed.seen, parsed.empty if first else 0)
        unusable = {key: cells[part] for key, cells in parsed.unusable.items()}
        yield RawBatch(rows, numbers[parsed.index[part]], *counted, unusable)


def _header(file: IO[bytes], delimiter: str) -> list[str]:
    """Reads the header of a CSV file, after any empty lines, and leaves the file positioned at the first row."""
    head = b""
    while piece := file.readline():
        head += piece
        if head.endswith(b"\n") and head.strip(codecs.BOM_UTF8 + b"\r\n"):
            break
    return next(csv.reader([head.decode("utf-8-sig").strip("\r\n")], delimiter=delimiter), [])
