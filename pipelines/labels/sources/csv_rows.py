"""Rows of CSV text, block by block, such that every line is part of a row or is reported.

A quote that is opened by mistake takes the lines after it for one value. Therefore a value may span lines only if it ends as CSV
values end, and the rows found are counted against the line ends outside of quotes.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from features.arrays import flat
from features.raw_columns import as_utf8, is_utf8, undecodable

#: Lines that one value may span.
_MOST_LINES = 1_000

#: Encoding in which any bytes are text.
_ANY = "latin-1"

#: A row that could not be split into columns: number, reason, text.
Malformed = tuple[int, str, str]


@dataclasses.dataclass(frozen=True)
class CsvTable:
    """How the text is split.

    Attributes:
        names: all columns.
        wanted: the columns to return.
        delimiter: between columns, one ASCII character.
        null_values: texts that stand for null.
        optional: columns whose cells may be missing: one that is not UTF-8 makes no row malformed.
    """

    names: list[str]
    wanted: list[str]
    delimiter: str = ","
    null_values: tuple[str, ...] = ("",)
    optional: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class CsvRows:
    """Rows of the text.

    Attributes:
        rows: the good ones.
        numbers: int64, their numbers from 1 on.
        malformed: the others.
        unusable: mask of the cells that are not UTF-8, and null, by (column, reason).
    """

    rows: pa.RecordBatch
    numbers: np.ndarray
    malformed: list[Malformed]
    unusable: dict[tuple[str, str], np.ndarray]


def read(file: IO[bytes], table: CsvTable, size: int) -> Iterator[CsvRows]:
    """Reads what follows the header. Empty lines are no rows.

    Args:
        file: the text after the header.
        table: how it is split.
        size: bytes that are read at a time.

    Raises:
        csv.Error: the rows can't be told apart.
    """
    grammar, rest, ended, done = _Grammar(table), b"", False, 0
    while not ended:
        block = file.read(size)
        ended = not block
        cut = block.rfind(b"\n") + 1
        data = b"".join([rest, memoryview(block)[:cut]]) if cut or ended else b""
        rest = b"" if ended else block[cut:] if cut else rest + block
        if not (filled := _filled_lines(data)):
            continue
        found = _Rows(data, table, {})
        if found.count != filled or not grammar.ends_whole(data):
            lines = _Lines(data)
            joined = _Joined(lines, grammar, ended)
            rest = lines.data[joined.stop :] + rest
            found = _Rows(joined.data(table), table, joined.unclosed)
            if found.count != joined.rows:
                message = f"{joined.rows:,} rows by their line ends, {found.count:,} by their quotes"
                raise csv.Error(f"rows {done + 1:,} to {done + joined.rows:,} can't be told apart: {message}")
        if found.count:
            malformed = [(number + done, reason, text) for number, reason, text in found.malformed]
            yield CsvRows(found.rows, found.numbers() + done, malformed, found.unusable)
        done += found.count


class _Grammar:
    """What lines may look like. pyarrow takes a quote within an unquoted value, and text after a closing one, as it stands."""

    def __init__(self, table: CsvTable):
        mark = re.escape(table.delimiter)
        inside, bare = '[^"]*(?:""[^"]*)*', f'[^"{mark}][^{mark}]*'
        field, strict = f'(?:"{inside}"(?:[^"{mark}][^{mark}]*)?|{bare}|)', f'(?:"{inside}"|{bare}|)'
        self._columns, self._delimiter = len(table.names), table.delimiter.encode()
        self._quoted = re.compile(f'"{inside}"(?={mark}|$)'.encode())
        #: A line of whole values.
        self.complete = f"^{field}(?:{mark}{field})*$"
        self._complete = re.compile(self.complete.encode())
        #: A line within a value; at its end that value, or a later one of the row, is open.
        self.stays = re.compile(f'{inside}(?:"(?:{mark}{strict})*{mark}"{inside})?'.encode())
        #: A line within a value that is the end of the row.
        self.closes = re.compile(f'{inside}"(?:{mark}{strict})*'.encode())

    def ends_whole(self, data: bytes) -> bool:
        """Whether the last line has whole values, if those before it have."""
        stop = len(data)
        while data[stop - 1 : stop] in (b"\n", b"\r"):
            stop -= 1
        last = data[data.rfind(b"\n", 0, stop) + 1 : stop].rpartition(b"\r")[2]
        return b'"' not in last or self._complete.match(last) is not None

    def are_rows(self, lines: list[bytes]) -> bool:
        """Whether lines look like rows of their own, if a quote that is not closed in its line is taken as it stands."""
        widths = [self._quoted.sub(b"", line).count(self._delimiter) + 1 for line in lines]
        alike = [self._columns > 2 and width == self._columns for width in widths]
        return alike[0] and alike[-1] and 2 * sum(alike) > len(alike)


def _filled_lines(data: bytes) -> int:
    """Number of lines that are not empty."""
    if b"\r" in data:
        return int(_Lines(data).filled.sum())
    ends = np.frombuffer(data, np.uint8) == ord("\n")
    empty = np.count_nonzero(ends[1:] & ends[:-1]) + data.startswith(b"\n")
    return int(np.count_nonzero(ends) - empty + (data[-1:] not in (b"", b"\n")))


class _Lines:
    """Whole lines of a file.

    Attributes:
        data: their bytes.
        begins: int64, where each line begins.
        ends: int64, where each ends: at its line feed, at a carriage return before no line feed, or with the data.
        filled: bool, whether it has anything.
    """

    def __init__(self, data: bytes):
        self.data = data
        text = np.append(np.frombuffer(data, np.uint8), np.uint8(0))
        ends = np.flatnonzero(text == ord("\n"))
        if b"\r" in data:
            returns = np.flatnonzero(text == ord("\r"))
            ends = np.sort(np.concatenate([ends, returns[text[returns + 1] != ord("\n")]]))
        if data and (not ends.size or ends[-1] < len(data) - 1):
            ends = np.append(ends, len(data))
        self.ends, self.begins = ends, np.append(0, ends + 1)[: ends.size]
        length = self.ends - self.begins
        self.filled = (length > 1) | ((length == 1) & (text[self.begins] != ord("\r")))

    def quotes(self) -> np.ndarray:
        """Number of quotes in each line."""
        places = np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord('"'))
        return np.searchsorted(places, self.ends) - np.searchsorted(places, self.begins)

    def __getitem__(self, line: int) -> bytes:
        return self.data[self.begins[line] : self.ends[line]].removesuffix(b"\r")

    def __len__(self) -> int:
        return self.ends.size


class _Joined:
    """Lines joined to rows where a quoted value spans several.

    Attributes:
        stop: where the row begins that the data does not end; else the end of the data.
        rows: number of rows before that.
        unclosed: (reason, text) of lines whose quote is not closed, by the number of the row.
    """

    def __init__(self, lines: _Lines, grammar: _Grammar, ended: bool):
        self._lines, self._grammar, self._ended = lines, grammar, ended
        self._with_quotes = np.flatnonzero(lines.quotes())
        texts = pa.array([lines[line] for line in self._with_quotes.tolist()], pa.binary())
        complete = np.asarray(pc.match_substring_regex(texts, grammar.complete), bool)
        first, bad, after, self.stop = lines.filled.copy(), {}, 0, len(lines.data)
        for line in self._with_quotes[~complete].tolist():
            if line < after:
                continue
            last, reason = self._closing(line)
            after = last + 1
            if reason:
                bad[line] = reason
            elif last == len(lines):
                self.stop = int(lines.begins[line])
                first[line:] = False
            else:
                first[line + 1 : after] = False
        self._bad, number = list(bad), np.cumsum(first)
        self.rows = int(first.sum())
        self.unclosed = {int(number[i]): (why, lines[i].decode(errors="replace")) for i, why in bad.items()}

    def _closing(self, line: int) -> tuple[int, str]:
        """The last line of a row whose first line leaves a value open; or this line, and why it can't be closed."""
        lines, limit = self._lines, line + _MOST_LINES
        after, beyond = np.searchsorted(self._with_quotes, [line + 1, limit + 1])
        for last in self._with_quotes[after:beyond].tolist():
            if self._grammar.closes.fullmatch(lines[last]):
                if self._grammar.are_rows([lines[i] for i in range(line, last + 1)]):
                    return (
                        line,
                        f"a quote is not closed before row-like lines ({last - line:,} up to the next quote that closes)",
                    )
                return last, ""
            if not self._grammar.stays.fullmatch(lines[last]):
                break
        else:
            if limit >= len(lines) and not self._ended:
                return len(lines), ""
        return line, f"a quote is not closed, neither in its line nor properly in the next {_MOST_LINES:,}"

    def data(self, table: CsvTable) -> bytes:
        """The rows, with lines that have too many columns in place of those whose quote is not closed."""
        pieces, done = [], 0
        for line in self._bad:
            pieces += [self._lines.data[done : self._lines.begins[line]], table.delimiter.encode() * len(table.names)]
            done = int(self._lines.ends[line])
        return b"".join([*pieces, self._lines.data[done : self.stop]])


class _Rows:
    """Parsed rows.

    Attributes:
        rows: the good ones.
        malformed: the others.
        count: how many there are in all.
        unusable: cells of the good ones that are not UTF-8.
    """

    def __init__(self, data: bytes, table: CsvTable, unclosed: dict[int, tuple[str, str]]):
        self._table, self._unclosed, self._coded = table, unclosed, False
        self.malformed: list[Malformed] = []
        self.unusable: dict[tuple[str, str], np.ndarray] = {}
        try:
            # pyarrow can't give rows to `_keep` that are not UTF-8.
            rows = self._parse(data, self._keep if is_utf8(data) else None)
        except pa.ArrowInvalid:
            self.malformed.clear()
            self._coded = True
            rows = self._decoded(self._parse(data.decode(_ANY).encode(), self._keep))
        self.rows = pa.RecordBatch.from_arrays([flat(column) for column in rows.columns], rows.column_names)
        self.count = rows.num_rows + len(self.malformed)

    def _parse(self, data: bytes, keep: Callable[[Any], str] | None) -> pa.Table:
        wanted = [name for name in self._table.wanted if name in self._table.names]
        if not data:
            return pa.schema([(name, pa.string()) for name in wanted]).empty_table()
        return pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(block_size=len(data) + 1, use_threads=False, column_names=self._table.names),
            pyarrow.csv.ParseOptions(
                delimiter=self._table.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            # Every column is read as text: inference differs from block to block and spoils ids such as 007.
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(self._table.names, pa.string()),
                include_columns=wanted,
                strings_can_be_null=True,
                null_values=[word.encode().decode(_ANY) if self._coded else word for word in self._table.null_values],
            ),
        )

    def _decoded(self, rows: pa.Table) -> pa.Table:
        """The rows of text that `_ANY` decoded, with null for optional cells that are not UTF-8, without the rows of others."""
        numbers, good, columns, unusable = self._numbers(rows.num_rows), np.ones(rows.num_rows, bool), {}, {}
        for name in rows.column_names:
            texts = rows[name].to_pylist()
            column = pa.array([None if text is None else text.encode(_ANY) for text in texts], pa.binary())
            cells, columns[name] = undecodable(column), as_utf8(column)
            if name in self._table.optional:
                unusable[name, "not UTF-8"] = cells
                continue
            bad = np.flatnonzero(cells & good)
            good &= ~cells
            texts = [cell.decode(errors="replace") for cell in column.take(pa.array(bad)).to_pylist()]
            reason = f"column '{name}' is not UTF-8"
            self.malformed += [(int(numbers[i]), reason, text) for i, text in zip(bad, texts, strict=True)]
        self.malformed.sort()
        self.unusable = {key: cells[good] for key, cells in unusable.items() if cells[good].any()}
        return pa.table(columns).filter(pa.array(good))

    def _keep(self, row) -> str:
        reason = f"wrong columns: expected {row.expected_columns}, found {row.actual_columns}"
        text = row.text.encode(_ANY).decode(errors="replace") if self._coded else row.text
        self.malformed.append((row.number, *self._unclosed.get(row.number, (reason, text))))
        return "skip"

    def numbers(self) -> np.ndarray:
        """Number of each good row. Rows keep their numbers although malformed ones between them are gone."""
        return self._numbers(self.rows.num_rows)

    def _numbers(self, rows: int) -> np.ndarray:
        gaps = np.array([number for number, _, _ in self.malformed], np.int64) - np.arange(len(self.malformed))
        index = np.arange(rows) + 1
        return index + np.searchsorted(gaps, index, side="right")
