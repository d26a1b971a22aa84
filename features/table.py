"""The click and conversion tables: column roles, their checks, and which rows are bad and why."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from features.errors import BadInput
from features.frozen import Frozen, as_tuple
from features.spec import ARROW_TYPE, NUMBER_LISTS, VALUE_SEPARATOR

#: Joins the parts of a role made of several columns, such as a match key of advertiser and product.
SEPARATOR = ":"

#: Put before the raw name of a feature column, so that it can't meet a role of that name.
FEATURE = "feature/"

#: Seconds in a day, and the day that times are counted from.
DAY, EPOCH = 86_400, datetime.date(1970, 1, 1)

_UNIT_NAMES = {1: "s", 1_000: "ms", 1_000_000: "us"}


class ClickColumns(Frozen):
    """Which columns of the click log play which role. A role may be made of several columns.

    Attributes:
        click_id: identifies a click within its user; a repeated id is the same click delivered twice.
        user_id: who clicked.
        timestamp: when, a whole number since 1970 in `sources.time_unit`, or an Arrow timestamp.
        match_key: what a click and a conversion must share besides the user; nothing when empty.
        touchpoint: the touchpoint type that data-driven attribution models; one type for all when empty. Null values
            make a type of their own, the empty one.
    """

    TABLE: ClassVar[str] = "clicks"
    ID: ClassVar[str] = "click_id"

    click_id: tuple[str, ...] = pydantic.Field(min_length=1)
    user_id: tuple[str, ...] = pydantic.Field(min_length=1)
    timestamp: str
    match_key: tuple[str, ...] = ()
    touchpoint: tuple[str, ...] = ()

    _single = pydantic.field_validator("click_id", "user_id", "match_key", "touchpoint", mode="before")(as_tuple)

    @property
    def text_roles(self) -> dict[str, tuple[str, ...]]:
        """Roles held as text, besides the id."""
        return {"user_id": self.user_id, "match_key": self.match_key, "touchpoint": self.touchpoint}


class ConversionColumns(Frozen):
    """Which columns of the conversion log play which role. A role may be made of several columns.

    Attributes:
        conversion_id: identifies a conversion within its user; a repeated id is the same one delivered twice.
        user_id: who converted; same meaning as in the click log.
        timestamp: when, as in the click log.
        match_key: as in the click log, part for part.
        value: what it was worth, in any one currency; 1 when absent.
    """

    TABLE: ClassVar[str] = "conversions"
    ID: ClassVar[str] = "conversion_id"

    conversion_id: tuple[str, ...] = pydantic.Field(min_length=1)
    user_id: tuple[str, ...] = pydantic.Field(min_length=1)
    timestamp: str
    match_key: tuple[str, ...] = ()
    value: str | None = None

    _single = pydantic.field_validator("conversion_id", "user_id", "match_key", mode="before")(as_tuple)

    @property
    def text_roles(self) -> dict[str, tuple[str, ...]]:
        """Roles held as text, besides the id."""
        return {"user_id": self.user_id, "match_key": self.match_key}


@dataclasses.dataclass(frozen=True)
class TimeBounds:
    """Which timestamps are believed, in time units since 1970, both ends included."""

    earliest: int
    latest: int
    latest_name: str = "observed_until"


@dataclasses.dataclass(frozen=True)
class Normalised:
    """A batch in canonical columns, and what was wrong with the rows left out.

    Attributes:
        rows: the good rows: the id, `user_id`, `timestamp`, … and the feature columns.
        bad_index: int64, positions of the bad rows in the raw batch.
        reasons: why, per bad row.
    """

    rows: pa.RecordBatch
    bad_index: np.ndarray
    reasons: list[str]


class _Checks:
    """Collects, per row, the first reason for which it is bad."""

    def __init__(self, rows: int):
        self._reason = np.full(rows, -1)
        self._reasons: list[str] = []

    def bad(self, mask: pa.Array | np.ndarray, reason: str) -> None:
        mask = np.asarray(mask.fill_null(False) if isinstance(mask, pa.Array) else mask, bool)
        self._reason[mask & (self._reason < 0)] = len(self._reasons)
        self._reasons.append(reason)

    def bad_rows(self) -> tuple[np.ndarray, list[str]]:
        index = np.flatnonzero(self._reason >= 0)
        return index, np.array([*self._reasons, ""], object)[self._reason[index]].tolist()


def required_columns(roles: ClickColumns | ConversionColumns, features: Mapping[str, str]) -> list[str]:
    """Names of all raw columns that `roles` and `features` (column → dtype) need, without repeats."""
    id_columns = getattr(roles, roles.ID)
    value = [roles.value] if getattr(roles, "value", None) else []
    text = [column for columns in roles.text_roles.values() for column in columns]
    return list(dict.fromkeys([*id_columns, *text, roles.timestamp, *value, *features]))


def missing_column(column: str, roles: ClickColumns | ConversionColumns, source: str, found: Iterable[str]) -> BadInput:
    """The error of a column that a file lacks, of the columns that it has."""
    return BadInput(
        f"{source}: column '{column}' of the {roles.TABLE} table is missing; found columns: {', '.join(found)}. Mend the file "
        "or the column's name in the config."
    )


def schema(roles: ClickColumns | ConversionColumns, features: Mapping[str, str]) -> pa.Schema:
    """Canonical columns and their types; the id may also be int64."""
    names = [roles.ID, *roles.text_roles]
    value = [("value", pa.float64())] if isinstance(roles, ConversionColumns) else []
    return pa.schema(
        [(name, pa.string()) for name in names]
        + [("timestamp", pa.int64()), *value]
        + [(FEATURE + column, ARROW_TYPE[dtype]) for column, dtype in features.items()]
    )


def parts(text: str, columns: int) -> tuple[str, ...]:
    """The parts of a role that is held as text: one for each of its columns."""
    if columns < 2:
        return (text,) * columns
    escaped = re.findall(r"((?:[^:\\]|\\.)*)(?::|$)", text)[:columns]
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in escaped)


def normalise(
    batch: pa.RecordBatch,
    roles: ClickColumns | ConversionColumns,
    features: Mapping[str, str],
    bounds: TimeBounds,
    units_per_second: int,
    source: str,
    unread: Callable[[], Sequence[str]] = tuple,
) -> Normalised:
    """Brings a raw batch into canonical columns and sorts out bad rows.

    Args:
        batch: raw columns.
        roles: which column is what.
        features: dtype (a key of `features.spec.ARROW_TYPE`) by raw column to keep; nulls are allowed there.
        bounds: timestamps outside are bad.
        units_per_second: 1, 1,000 or 1,000,000.
        source: file the batch is from, for messages.
        unread: gives columns that the file has, also those that are not in the batch, for messages.

    Returns:
        Canonical columns: the id (int64 if the raw column is an integer, else string), string roles, `timestamp`
        int64, for conversions `value` float64, then the feature columns as `feature/<raw name>`.

    Raises:
        BadInput: a column is missing, or of a type that can't play its role.
    """
    if missing := [name for name in required_columns(roles, features) if name not in batch.schema.names]:
        raise missing_column(missing[0], roles, source, dict.fromkeys([*batch.schema.names, *unread()]))
    checks, raw = _Checks(batch.num_rows), {name: batch.column(name) for name in batch.schema.names}

    def where(column: str) -> str:
        return f"{source}: column '{column}' of the {roles.TABLE} table"

    columns = {roles.ID: _identifier(raw, getattr(roles, roles.ID), where)}
    columns |= {role: _joined_text(raw, names, where) for role, names in roles.text_roles.items()}
    if "touchpoint" in columns:  # A click without a known type is still a click: unknown is a type of its own.
        columns["touchpoint"] = columns["touchpoint"].fill_null("")
    if not batch.num_rows:
        columns = {name: column.slice(0, 0) for name, column in columns.items()}
    for name, column in columns.items():
        checks.bad(column.is_null(), f"{name} is null")

    columns["timestamp"], not_whole = _whole_numbers(raw[roles.timestamp], where(roles.timestamp), units_per_second)
    checks.bad(not_whole, "timestamp is not a whole number")
    checks.bad(columns["timestamp"].is_null(), "timestamp is null")
    checks.bad(pc.less(columns["timestamp"], 0), "timestamp is negative")
    checks.bad(pc.less(columns["timestamp"], bounds.earliest), "timestamp is before observed_from")
    checks.bad(
        pc.greater(columns["timestamp"], bounds.latest), f"timestamp is in the future: after {bounds.latest_name}"
    )
    if isinstance(roles, ConversionColumns):
        columns["value"] = _values(raw, roles.value, batch.num_rows, checks, where)
    for column, dtype in features.items():
        columns[FEATURE + column] = _feature(raw[column], column, dtype, checks, where(column))

    bad_index, reasons = checks.bad_rows()
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    if bad_index.size:
        rows = rows.take(pa.array(np.delete(np.arange(batch.num_rows), bad_index)))
    return Normalised(rows, bad_index, reasons)


def _values(raw, column, rows, checks, where):
    if column is None:
        return pa.array(np.ones(rows))
    values, unreadable = _numbers(raw[column], where(column))
    checks.bad(unreadable, "value is not a number")
    checks.bad(values.is_null(), "value is null")
    checks.bad(pc.less(values, 0.0), "value is negative")
    return values


def _feature(column: pa.Array, name: str, dtype: str, checks: _Checks, where: str) -> pa.Array:
    if dtype == "string":
        return _text(column, where)
    if dtype == "int64":
        numbers, unreadable = _whole_numbers(column, where)
        checks.bad(unreadable, f"feature column '{name}' is not a whole number")
        return numbers
    if dtype == NUMBER_LISTS:
        lists, unreadable = _number_lists(column, where)
        checks.bad(unreadable, f"feature column '{name}' is not a list of numbers")
        return lists
    numbers, unreadable = _numbers(column, where)
    checks.bad(unreadable, f"feature column '{name}' is not a number")
    return numbers.cast(ARROW_TYPE[dtype], safe=False)


def _identifier(raw, names, where) -> pa.Array:
    column = raw[names[0]]
    if len(names) == 1 and pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return column.cast(pa.int64())
    return _joined_text(raw, names, where)


def _joined_text(raw, names, where) -> pa.Array:
    if not names:
        rows = len(next(iter(raw.values())))
        return pa.array(np.full(rows, ""), pa.string())
    parts = [_text(raw[name], where(name)) for name in names]
    if len(parts) == 1:
        return parts[0]
    # Escaped, so that ("a:b", "c") and ("a", "b:c") stay apart.
    parts = [pc.replace_substring(pc.replace_substring(p, "\\", "\\\\"), SEPARATOR, "\\" + SEPARATOR) for p in parts]
    return pc.binary_join_element_wise(*parts, SEPARATOR)


def _wrong_type(where: str, expected: str, found: pa.DataType) -> BadInput:
    return BadInput(f"{where}: expected {expected}, found {found}. Mend the file, or name another column.")


def _text(column: pa.Array, where: str) -> pa.Array:
    """Text of strings, integers and booleans; the empty string is null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.dictionary_decode(), where)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise _wrong_type(where, "strings or integers", kind)
    column = column.cast(pa.string())
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _whole_numbers(column: pa.Array, where: str, units_per_second: int | None = None) -> tuple[pa.Array, np.ndarray]:
    """int64 numbers, null where unreadable, and a mask of the unreadable ones (nulls and NaN are readable)."""
    kind = column.type
    if pa.types.is_uint64(kind):
        fits = pc.less_equal(column, pa.scalar(2**63 - 1, kind))
        readable = pc.if_else(fits, column, pa.scalar(None, kind)).cast(pa.int64())
    elif pa.types.is_integer(kind):
        return column.cast(pa.int64()), np.zeros(len(column), bool)
    elif pa.types.is_timestamp(kind) and units_per_second:
        return (
            column.cast(pa.timestamp(_UNIT_NAMES[units_per_second], kind.tz), safe=False).cast(pa.int64()),
            np.zeros(len(column), bool),
        )
    elif pa.types.is_dictionary(kind):
        return _whole_numbers(column.dictionary_decode(), where, units_per_second)
    elif pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        readable = pc.if_else(whole, column, pa.scalar(None, kind)).cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        text = column.cast(pa.string())
        readable = pc.if_else(pc.match_substring_regex(text, r"^-?\d{1,18}$"), text, pa.scalar(None, pa.string())).cast(
            pa.int64()
        )
        column = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    else:
        raise _wrong_type(where, "whole numbers", kind)
    return readable, _lost(column, readable)


def _numbers(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Finite float64 numbers, null where unreadable, and a mask of the unreadable ones (nulls and NaN are readable)."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _numbers(column.dictionary_decode(), where)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        numbers = column.cast(pa.float64(), safe=False)
        given = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = column.cast(pa.string())
        empty = pc.match_substring_regex(text, r"^(|nan|NaN|NA|null)$")
        given = pc.if_else(empty, pa.scalar(None, pa.string()), text)
        number = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        numbers = pc.if_else(number, text, pa.scalar(None, pa.string())).cast(pa.float64())
    else:
        raise _wrong_type(where, "numbers", kind)
    # Beyond float32 a feature would become infinite.
    finite = pc.less_equal(pc.abs(numbers), float(np.finfo(np.float32).max))
    readable = pc.if_else(finite, numbers, pa.scalar(None, pa.float64()))
    return readable, _lost(given, readable)


def _number_lists(column: pa.Array, where: str) -> tuple[pa.ListArray, np.ndarray]:
    """float32 lists, empty where null and NaN for missing numbers, and a mask of the rows with unreadable ones."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _number_lists(column.dictionary_decode(), where)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        column = pc.split_pattern(_text(column, where), VALUE_SEPARATOR)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise _wrong_type(where, f"lists of numbers, or numbers joined by {VALUE_SEPARATOR}", kind)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    numbers, lost = _numbers(column.flatten(), where)
    bad = np.zeros(len(column), bool)
    bad[np.repeat(np.arange(len(column)), lengths)[lost]] = True
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, numbers.cast(pa.float32(), safe=False).fill_null(np.nan)), bad


def _lost(before: pa.Array, after: pa.Array) -> np.ndarray:
    return np.asarray(pc.and_(pc.is_valid(before), pc.is_null(after)))
