"""Parsing JSON Lines into text, under a schema that is known beforehand, so that no line changes what another one means.

Scalars are given as the text that they have in the line (`12`, `0.5`, `true`), as in CSV. Lists are lists of such text.
"""

import dataclasses
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from features.arrays import flat
from features.raw_columns import VALUE_SEPARATOR

#: Numbers and other scalars outside strings, for RE2; `-0` is left out, as Arrow reads it as 0.
_SCALAR = r"(?:-?(?:[1-9][0-9]*|0)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|NaN|-?Infinity)\b"

#: What `_quoted` would make valid: fields named by a bare word, and -0.
_BARE_NAME_OR_ZERO = r"[{,]\s*-?[0-9a-zA-Z]+\s*:|-0\s*[,\]}]"

#: Bytes that valid lines don't hold as they are; `_quoted` uses them as marks.
_MARKS = (b"\x00", b"\x01", b"\x02")

#: An escape that only some parsers accept: the second half of a surrogate pair without the first.
_HALF = re.compile(rb"(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]")

#: What Arrow's parser would crash on, as on a line that is no object: null between objects.
_NO_OBJECT = re.compile(rb"\}\s*null")

_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


@dataclasses.dataclass(frozen=True)
class Parsed:
    """Lines, parsed.

    Attributes:
        rows: a row per line, or per object of the lists to explode; all columns, null where a line lacks them.
        index: int64, the position of each row's line.
        malformed: the other lines: (position, reason).
        seen: columns that a line has; where some are missing, also the other fields of the first line.
    """

    rows: pa.RecordBatch
    index: np.ndarray
    malformed: list[tuple[int, str]]
    seen: frozenset[str]


class Parser:
    """Parses lines into the same columns whatever the lines beside them hold.

    Args:
        columns: names of the columns.
        lists: those that hold lists, which may also be given as text.
        numbers: those whose numbers need not be given as text, as they are rounded to floats anyway.
        explode: field with a list of objects, each of which becomes a row beside the line's other fields.
    """

    def __init__(
        self,
        columns: Sequence[str],
        lists: Collection[str] = (),
        numbers: Collection[str] = (),
        explode: str | None = None,
    ):
        self._columns, self._numbers, self._explode = list(columns), frozenset(numbers), explode
        types = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in columns}
        self._schema = pa.schema(list(types.items()))
        fields = dict(types) if explode is None else types | {explode: pa.list_(pa.struct(list(types.items())))}
        self._explicit = pyarrow.json.ParseOptions(pa.schema(list(fields.items())), unexpected_field_behavior="ignore")
        self._texts: set[str] = set()
        self._keys = {
            name: (json.dumps(name).encode(), json.dumps(name, ensure_ascii=False).encode()) for name in types
        }

    def parse(self, lines: list[bytes]) -> Parsed:
        """Parses lines that aren't blank: all at once, or one by one where any of them doesn't fit the schema."""
        data = b"\n".join(lines)
        try:
            data.decode()
        except UnicodeDecodeError:
            return self._one_by_one(lines)
        odd = any(mark in data for mark in _MARKS) or (b"\\u" in data and _HALF.search(data)) or _NO_OBJECT.search(data)
        if odd or not data.startswith(b"{") or data.count(b"\n{") < len(lines) - 1:
            return self._one_by_one(lines)
        index, malformed = np.arange(len(lines)), []
        rows = self._inferred(data, len(lines)) if self._explode is None else None
        if rows is None:
            table = self._as_text(data, len(lines))
            if table is None:
                return self._one_by_one(lines)
            if self._explode is not None:
                without = np.flatnonzero(np.asarray(table[self._explode].is_null()))
                malformed = [(i, self._no_list(json.loads(lines[i]))) for i in without.tolist()]
                table, index = self._exploded(table)
            rows = pa.RecordBatch.from_arrays([flat(table[name]) for name in self._columns], self._columns)
        return Parsed(rows, index, malformed, self._seen(rows, data))

    def _inferred(self, data: bytes, count: int) -> pa.RecordBatch | None:
        """The rows by the types that Arrow infers, which is faster; None where these might lose a part of a value."""
        for _ in range(2):
            texts = pa.schema([(name, pa.string()) for name in sorted(self._texts)])
            table = _parsed(data, count, pyarrow.json.ParseOptions(texts))
            times = [] if table is None else [f.name for f in table.schema if pa.types.is_temporal(f.type)]
            if not times:
                break
            # Inference takes text such as 2024-01-01 for a time, if the lines beside it allow.
            self._texts.update(times)
        if table is None:
            return None
        columns = []
        for field in self._schema:
            column = flat(table[field.name]) if field.name in table.column_names else pa.nulls(count)
            is_list = pa.types.is_list(field.type) and pa.types.is_list(column.type)
            kind = column.type.value_type if is_list else column.type
            known = pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind)
            null = pa.types.is_null(kind) and not is_list
            if not (known or null or (pa.types.is_floating(kind) and field.name in self._numbers)):
                return None
            columns.append(column if is_list or pa.types.is_floating(kind) else column.cast(pa.string()))
        return pa.RecordBatch.from_arrays(columns, self._columns)

    def _as_text(self, data: bytes, count: int) -> pa.Table | None:
        """The fields of the lines as the text of their values; None where a line doesn't fit the schema."""
        quoted = _quoted(data)
        return None if quoted is None else _parsed(quoted, count, self._explicit)

    def _exploded(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """A row per object, whose fields go before those of the line."""
        lists = flat(table[self._explode])
        parents = pc.list_parent_indices(lists)
        fields = dict(zip(self._columns, lists.flatten().flatten(), strict=True))
        merged = {name: pc.coalesce(fields[name], flat(table[name]).take(parents)) for name in self._columns}
        return pa.table(merged, self._schema), parents.to_numpy().astype(np.int64)

    def _seen(self, rows: pa.RecordBatch, data: bytes) -> frozenset[str]:
        seen = {
            name
            for name, column in zip(self._columns, rows.columns, strict=True)
            if column.null_count < len(column) or any(key in data for key in self._keys[name])
        }
        if len(seen) < len(self._columns):
            first = json.loads(data.partition(b"\n")[0])
            objects = first.pop(self._explode, None) or [{}] if self._explode else [{}]
            seen |= {*first, *(objects[0] or {})}
        return frozenset(seen)

    def _one_by_one(self, lines: list[bytes]) -> Parsed:
        found: list[dict[str, Any]] = []
        index: list[int] = []
        malformed: list[tuple[int, str]] = []
        seen: set[str] = set()
        for place, line in enumerate(lines):
            try:
                fields, rows = self._rows(line)
            except ValueError as error:
                malformed.append((place, str(error)))
                continue
            seen |= fields
            found += rows
            index += [place] * len(rows)
        columns = [pa.array([row[f.name] for row in found], f.type) for f in self._schema]
        rows = pa.RecordBatch.from_arrays(columns, self._columns)
        return Parsed(rows, np.array(index, np.int64), malformed, frozenset(seen))

    def _rows(self, line: bytes) -> tuple[set[str], list[dict[str, Any]]]:
        """The columns that a line has, and its rows. Raises ValueError with the reason where it is malformed."""
        try:
            whole = json.loads(line.decode(), parse_int=_integer, parse_float=str, parse_constant=str)
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not a JSON object: {error}") from None
        if not isinstance(whole, dict):
            raise ValueError(f"not a JSON object but {_kind(whole)}")
        objects: Any = [whole]
        if self._explode is not None:
            objects = whole.get(self._explode)
            if not isinstance(objects, list) or not all(isinstance(o, dict | None) for o in objects):
                raise ValueError(self._no_list(whole))
            objects = [whole | {k: v for k, v in (o or {}).items() if v is not None} for o in objects]
        rows = [
            {f.name: self._value(f.name, one.get(f.name), pa.types.is_list(f.type)) for f in self._schema}
            for one in objects
        ]
        return {name for one in (whole, *objects) for name in one}, rows

    def _value(self, name: str, value: Any, is_list: bool) -> Any:
        if isinstance(value, dict) or (isinstance(value, list) and not is_list):
            raise ValueError(f"field '{name}': expected {'a list' if is_list else 'one value'}, found {_kind(value)}")
        if not is_list:
            return _text(name, value)
        if not isinstance(value, list):
            text = _text(name, value)
            return text.split(VALUE_SEPARATOR) if text else None
        if any(isinstance(one, dict | list) for one in value):
            raise ValueError(f"field '{name}': expected a list of single values, found one of {_kind(value[0])}")
        return [_text(name, one) for one in value]

    def _no_list(self, line: dict) -> str:
        return f"no list of objects in '{self._explode}'; found: {', '.join(line)}"


def _parsed(data: bytes, count: int, options: pyarrow.json.ParseOptions) -> pa.Table | None:
    """The table of so many lines, None where they can't be parsed together."""
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(data), reading, options)
        table.validate()  # Lists that begin with null may have lost it.
    except _ERRORS:
        return None
    return table.combine_chunks() if table.num_rows == count else None


def _quoted(data: bytes) -> bytes | None:
    """The lines with text in place of every number, truth value and NaN; None where that would repair what is malformed."""
    escaped = b"\\" in data
    if escaped:
        data = data.replace(b"\\\\", b"\x01").replace(b'\\"', b"\x02")
    parts = data.split(b'"')
    between = pa.array([b"\x00".join(parts[::2])], pa.large_binary())
    if pc.match_substring_regex(between, _BARE_NAME_OR_ZERO)[0].as_py():
        return None
    parts[::2] = pc.replace_substring_regex(between, _SCALAR, r'"\0"')[0].as_py().split(b"\x00")
    data = b'"'.join(parts)
    return data.replace(b"\x02", b'\\"').replace(b"\x01", b"\\\\") if escaped else data


def _integer(digits: str) -> str:
    return "0" if digits == "-0" else digits


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return value if value is None else value.encode().decode()
    except UnicodeEncodeError:
        raise ValueError(f"field '{name}': not UTF-8: half of a surrogate pair") from None


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(type(value), "a single value")
