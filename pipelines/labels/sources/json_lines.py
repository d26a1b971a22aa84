"""Parsing JSON Lines into text, under a schema that is known beforehand, so that no line changes what another one means.

Scalars are given as the text that they have in the line (`12`, `0.5`, `true`), as in CSV. Lists are lists of such text.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from features.arrays import flat
from features.raw_columns import VALUE_SEPARATOR, is_utf8
from pipelines.labels.sources import json_values, nested
from pipelines.labels.sources.nested import Place

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

#: A name of more parts stands for one field, or for as many as it has parts, but for no fields with a dot in their names.
_MOST_PARTS = 4

_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


@dataclasses.dataclass(frozen=True)
class Parsed:
    """Lines, parsed.

    Attributes:
        rows: a row per line, or per object of the lists to explode; all columns, null where a line lacks them.
        index: int64, the position of each row's line.
        empty: number of lines without an element to explode.
        malformed: the other lines: (position, reason).
        seen: columns that a line has; where some are missing, also the other fields of the first line.
        unusable: mask of the cells that are no values of their column, and null, by (column, reason).
    """

    rows: pa.RecordBatch
    index: np.ndarray
    malformed: list[tuple[int, str]]
    seen: frozenset[str]
    empty: int = 0
    unusable: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)


class Parser:
    """Parses lines into the same columns whatever the lines beside them hold.

    Args:
        columns: names of the columns. `a.b` is the field of that name, or the field b of the object a.
        lists: those that hold lists, which may also be given as text.
        numbers: those whose numbers need not be given as text, as they are rounded to floats anyway.
        explode: field with a list, each element of which becomes a row beside the line's other fields. It is a list of objects,
            or of single values if it is among the columns.
        optional: columns whose cells may be missing. In others, a cell that is no value of the column makes the row malformed.
    """

    def __init__(
        self,
        columns: Sequence[str],
        lists: Collection[str] = (),
        numbers: Collection[str] = (),
        explode: str | None = None,
        optional: Collection[str] = (),
    ):
        self._columns, self._numbers, self._explode = list(columns), frozenset(numbers), explode
        self._optional = frozenset(optional)
        types = {name: pa.list_(pa.string()) if name in lists else pa.string() for name in columns}
        self._schema = pa.schema(list(types.items()))
        self._lists = [] if explode is None else _splits(explode)
        self._places = self._all_places()
        leaves = [(place, types[name]) for name, places in self._places.items() for place in places]
        fields = [(place.path, kind) for place, kind in leaves if not place.of_element]
        element = [(place.path, kind) for place, kind in leaves if place.of_element]
        of_list = pa.string() if explode in columns else pa.struct(nested.fields_of(element))
        explicit = nested.fields_of([*fields, *((path, pa.list_(of_list)) for path in self._lists)])
        self._explicit = pyarrow.json.ParseOptions(pa.schema(explicit), unexpected_field_behavior="ignore")
        self._texts: set[str] = set()
        found = {name: [place.path for place in places] for name, places in self._places.items()}
        found |= {} if explode is None else {explode: self._lists}
        self._keys = {
            name: [
                [(json.dumps(key).encode(), json.dumps(key, ensure_ascii=False).encode()) for key in path]
                for path in paths
            ]
            for name, paths in found.items()
        }

    def _all_places(self) -> dict[str, list[Place]]:
        """The places of each column, without those in fields that are columns, or the list to explode, themselves."""
        places = {
            name: [
                Place(path, of_element)
                for of_element, inner in nested.spellings(name, self._explode)
                if not (of_element and inner and self._explode in self._columns)
                for path in (_splits(inner) if inner else [()])
            ]
            for name in self._columns
        }
        taken = {place for of in places.values() for place in of} | {Place(path) for path in self._lists}

        def is_free(place: Place) -> bool:
            return not any(Place(place.path[:n], place.of_element) in taken for n in range(1, len(place.path)))

        return {name: list(filter(is_free, of)) for name, of in places.items()}

    def parse(self, lines: list[bytes]) -> Parsed:
        """Parses lines that aren't blank: all at once, or one by one where any of them doesn't fit the schema."""
        data = b"\n".join(lines)
        odd = any(mark in data for mark in _MARKS) or (b"\\u" in data and _HALF.search(data)) or _NO_OBJECT.search(data)
        if odd or not data.startswith(b"{") or data.count(b"\n{") < len(lines) - 1 or not is_utf8(data):
            return self._one_by_one(lines)
        index, empty = np.arange(len(lines)), 0
        rows = self._inferred(data, len(lines)) if self._explode is None else None
        if rows is None:
            table, exploded = self._as_text(data, len(lines)), None
            if table is None:
                return self._one_by_one(lines)
            fields = _by_name(table)
            if self._lists:
                lists = [nested.walk(fields, path) for path in self._lists]
                filled = [column for column in lists if column.null_count < len(column)]
                if len(filled) > 1:
                    return self._one_by_one(lines)
                exploded = nested.Exploded.of([*filled, *lists][0])
                index, empty = exploded.owners, exploded.empty
            columns = [
                nested.values(self._places[name], fields, exploded, slice(0, len(index))) for name in self._columns
            ]
            rows = pa.RecordBatch.from_arrays(columns, self._columns)
        return Parsed(rows, index, [], self._seen(rows, data), empty)

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
        columns, fields = [], _by_name(table)
        for field in self._schema:
            paths = [place.path for place in self._places[field.name] if place.path[0] in fields]
            if len(paths) > 1:
                return None
            try:
                column = nested.walk(fields, paths[0]) if paths else pa.nulls(count)
            except KeyError:
                return None
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

    def _seen(self, rows: pa.RecordBatch, data: bytes) -> frozenset[str]:
        seen = {n for n, column in zip(self._columns, rows.columns, strict=True) if column.null_count < len(column)}
        for name in self._keys.keys() - seen:
            if any(all(any(key in data for key in keys) for keys in path) for path in self._keys[name]):
                seen.add(name)
        if len(seen) < len(self._keys):
            seen |= self._fields(json.loads(data.partition(b"\n")[0]))
        return frozenset(seen)

    def _fields(self, whole: dict) -> set[str]:
        """Names of the fields of a line, and of the first element of its list."""
        names = {*_names(whole)}
        for path in self._lists:
            elements = json_values.look(whole, path)
            inner = (
                _names(elements[0]) if isinstance(elements, list) and elements and isinstance(elements[0], dict) else []
            )
            names |= {name for one in inner for name in (one, f"{self._explode}.{one}")}
        return names

    def _one_by_one(self, lines: list[bytes]) -> Parsed:
        found: list[dict[str, Any]] = []
        index: list[int] = []
        malformed: list[tuple[int, str]] = []
        seen: set[str] = set()
        unusable: dict[tuple[str, str], list[int]] = {}
        empty = 0
        for place, line in enumerate(lines):
            try:
                whole = json_values.parsed(line)
                elements = self._elements(whole)
            except ValueError as error:
                malformed.append((place, str(error)))
                continue
            seen |= {name.encode(errors="replace").decode() for name in self._fields(whole)}
            empty += not elements
            for element in elements:
                try:
                    row, reasons = self._row(whole, element)
                except ValueError as error:
                    malformed.append((place, str(error)))
                    continue
                for cell in reasons:
                    unusable.setdefault(cell, []).append(len(found))
                found.append(row)
                index.append(place)
        columns = [pa.array([row[f.name] for row in found], f.type) for f in self._schema]
        rows = pa.RecordBatch.from_arrays(columns, self._columns)
        masks = {cell: np.isin(np.arange(len(found)), places) for cell, places in unusable.items()}
        return Parsed(rows, np.array(index, np.int64), malformed, frozenset(seen), empty, masks)

    def _elements(self, whole: dict) -> list:
        """The elements of which a line makes rows. Raises ValueError if they are no list."""
        if self._explode is None:
            return [None]
        elements: Any = next(
            (value for path in self._lists if (value := json_values.look(whole, path)) is not None), []
        )
        if not isinstance(elements, list):
            kinds = "single values" if self._explode in self._columns else "objects"
            found = json_values.kind_of(elements)
            raise json_values.Unusable(self._explode, f"expected a list of {kinds}, found {found}")
        return elements

    def _row(self, whole: dict, element: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """A row, and (column, reason) of its cells that are missing. Raises ValueError with the reason where it is malformed."""
        if self._explode not in self._columns and not isinstance(element, dict | None):
            raise json_values.Unusable(
                str(self._explode), f"expected a list of objects, found one of {json_values.kind_of(element)}"
            )
        row, reasons = {}, []
        for field in self._schema:
            name, is_list = field.name, pa.types.is_list(field.type)
            try:
                row[name] = self._value(name, self._found(name, whole, element), is_list)
            except json_values.Unusable as error:
                if name not in self._optional:
                    raise
                row[name] = None
                reasons.append((name, error.reason))
        return row, reasons

    def _found(self, name: str, whole: dict, element: Any) -> Any:
        looked = (json_values.look(element if place.of_element else whole, place.path) for place in self._places[name])
        return next((value for value in looked if value is not None), None)

    def _value(self, name: str, value: Any, is_list: bool) -> Any:
        if isinstance(value, dict | json_values.Twice) or (isinstance(value, list) and not is_list):
            raise json_values.Unusable(
                name, f"expected {'a list' if is_list else 'one value'}, found {json_values.kind_of(value)}"
            )
        if not is_list:
            return json_values.text_of(name, value)
        if not isinstance(value, list):
            text = json_values.text_of(name, value)
            return text.split(VALUE_SEPARATOR) if text else None
        if others := [one for one in value if isinstance(one, dict | list | json_values.Twice)]:
            raise json_values.Unusable(
                name, f"expected a list of single values, found one of {json_values.kind_of(others[0])}"
            )
        return [json_values.text_of(name, one) for one in value]


def _splits(name: str) -> list[nested.Path]:
    """The paths that a name may stand for: itself, or others, those with longer names first."""
    parts = name.split(".")
    count = len(parts)
    if count == 1 or not all(parts):
        return [(name,)]
    if count > _MOST_PARTS:
        return [(name,), tuple(parts)]
    paths = []
    for cuts in (cuts for size in range(count) for cuts in itertools.combinations(range(1, count), size)):
        bounds = [0, *cuts, count]
        paths.append(tuple(".".join(parts[begin:end]) for begin, end in itertools.pairwise(bounds)))
    return sorted(paths, key=lambda path: [-len(field) for field in path])


def _names(fields: dict) -> list[str]:
    """Names of the fields, with those of objects in them after a dot."""
    return [
        name
        for key, value in fields.items()
        for name in (key, *(f"{key}.{inner}" for inner in (_names(value) if isinstance(value, dict) else [])))
    ]


def _by_name(table: pa.Table) -> dict[str, pa.Array]:
    return dict(zip(table.column_names, map(flat, table.columns), strict=True))


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
