"""Tables of clicks, conversions and context touches: normalisation of raw batches, with checks of each row."""

import dataclasses
import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from features.feature import ARROW_TYPE, NUMBER_LISTS
from features.raw_columns import (
    as_feature_text,
    as_identifier,
    as_joined_text,
    as_number_lists,
    as_numbers,
    as_whole_numbers,
    plain,
    undecodable,
)
from features.raw_times import TimeFormat, as_times
from features.roles import ClickColumns, ContextColumns, ConversionColumns

#: Prefix of the raw name of a feature column, so that it can't clash with a role of that name.
FEATURE = "feature/"

#: Begins the text of a user without an id, before the fallback. Ids that begin so, or with a backslash, get a backslash before.
FALLBACK = "fallback:"

#: Reason of a missing cell of a conversion's value.
VALUE_IS_NULL = "value is null"

#: Day from which timestamps are counted.
EPOCH = datetime.date(1970, 1, 1)


#: Roles of the columns of any table.
Roles: TypeAlias = ClickColumns | ConversionColumns | ContextColumns


@dataclasses.dataclass(frozen=True)
class TimeBounds:
    """Range of plausible timestamps, in nanoseconds since 1970, both ends included."""

    earliest: int
    latest: int
    latest_name: str = "observed_until"


@dataclasses.dataclass(frozen=True)
class Normalised:
    """A batch in canonical columns, the rows that were rejected, and the cells of the others that became missing.

    Attributes:
        rows: the good rows, with the id, `user_id`, `timestamp`, … and the feature columns.
        bad_index: int64, positions of the bad rows in the raw batch.
        reasons: reason of each bad row.
        missing: number of good rows whose cell can't be used, by (raw column, reason), but for null features.
        fallbacks: number of good rows whose user is known by the fallback only.
        zoned: whether any time has a time zone of its own.
        zoneless: whether any time is a date and time of day without a zone.
    """

    rows: pa.RecordBatch
    bad_index: np.ndarray
    reasons: list[str]
    missing: dict[tuple[str, str], int]
    fallbacks: int = 0
    zoned: bool = False
    zoneless: bool = False


class _Checks:
    """Collects the first reason for which each row is bad, and the cells that can't be used."""

    def __init__(self, rows: int):
        self._reason = np.full(rows, -1)
        self._reasons: list[str] = []
        self._cells: list[tuple[str, str, np.ndarray]] = []

    def bad(self, mask: pa.Array | np.ndarray, reason: str) -> None:
        mask = _mask(mask)
        self._reason[mask & (self._reason < 0)] = len(self._reasons)
        self._reasons.append(reason)

    def missing(self, column: str, mask: pa.Array | np.ndarray, reason: str) -> None:
        if (mask := _mask(mask)).any():
            self._cells.append((column, reason, mask))

    def missing_cells(self) -> dict[tuple[str, str], int]:
        counts = {(column, reason): self.good(mask) for column, reason, mask in self._cells}
        return {key: n for key, n in counts.items() if n}

    def good(self, mask: np.ndarray) -> int:
        return int((mask & (self._reason < 0)).sum())

    def bad_rows(self) -> tuple[np.ndarray, list[str]]:
        index = np.flatnonzero(self._reason >= 0)
        return index, np.array([*self._reasons, ""], object)[self._reason[index]].tolist()


def _mask(mask: pa.Array | np.ndarray) -> np.ndarray:
    return np.asarray(mask.fill_null(False) if isinstance(mask, pa.Array) else mask, bool)


def required_columns(roles: Roles, features: Mapping[str, str]) -> list[str]:
    """Distinct names of all raw columns that `roles` and `features` (dtypes by column) need."""
    value = [roles.value] if isinstance(roles, ConversionColumns) and roles.value else []
    return list(dict.fromkeys([*indispensable_columns(roles), *roles.user_fallback, *value, *features]))


def indispensable_columns(roles: Roles) -> list[str]:
    """Names of the raw columns without which there is no event, that is of `roles` but for values and fallbacks."""
    text = [column for columns in roles.text_roles.values() for column in columns]
    return [*getattr(roles, roles.ID), *text, roles.timestamp]


def missing_column(column: str, roles: Roles, source: str, columns: Iterable[str]) -> BadInput:
    """The error for a column that is not among the `columns` of the file `source`."""
    known = list(columns)
    outer = next((name for name in known if column.startswith(f"{name}.")), "")
    is_list = outer and not any(name.startswith(f"{outer}.") for name in known)
    hint = (
        f" '{outer}' has no fields; if it holds lists, `explode: {outer}` makes rows of their elements."
        if is_list
        else ""
    )
    return BadInput(
        f"{source}: column '{column}' of the {roles.TABLE} table is missing; found columns: {', '.join(known)}. Add the "
        f"column, or correct its name.{hint}"
    )


def schema(roles: Roles, features: Mapping[str, str]) -> pa.Schema:
    """Schema of the canonical columns. The id is given as string, it may also be int64."""
    names = [roles.ID, *roles.text_roles]
    value = [("value", pa.float64())] if isinstance(roles, ConversionColumns) else []
    return pa.schema(
        [(name, pa.string()) for name in names]
        + [("timestamp", pa.int64()), *value]
        + [(FEATURE + column, ARROW_TYPE[dtype]) for column, dtype in features.items()]
    )


def parts(text: str, columns: int) -> tuple[str, ...]:
    """Splits the text of a role that is made of several columns into the value of each (`as_joined_text`)."""
    if columns < 2:
        return (text,) * columns
    escaped = re.findall(r"((?:[^:\\]|\\.)*)(?::|$)", text)[:columns]
    return tuple(re.sub(r"\\(.)", r"\1", part) for part in escaped)


def normalise(
    batch: pa.RecordBatch,
    roles: Roles,
    features: Mapping[str, str],
    bounds: TimeBounds,
    times: TimeFormat,
    source: str,
    unread: Callable[[], Sequence[str]] = tuple,
) -> Normalised:
    """Converts a raw batch to canonical columns and rejects bad rows.

    A row is bad if attribution can't do without what it lacks: ids, the user, the time, the match key. A value or feature
    that can't be used is a missing cell of a row that stays.

    Args:
        batch: raw columns.
        roles: roles of the columns.
        features: dtype (a key of `features.feature.ARROW_TYPE`) by raw column to keep; nulls are allowed there.
        bounds: rows with timestamps outside are bad.
        times: how timestamps are read.
        source: file that the batch was read from, for messages.
        unread: returns columns of the file that are not in the batch, for messages.

    Returns:
        Canonical columns: the id (int64 if the raw column is an integer, else string), string roles, `timestamp`
        int64, for conversions `value` float64 (null if missing), then the feature columns as `feature/<raw name>`.

    Raises:
        BadInput: a column is missing, or its type does not suit its role.
    """
    required = required_columns(roles, features)
    if missing := [name for name in required if name not in batch.schema.names]:
        raise missing_column(missing[0], roles, source, dict.fromkeys([*batch.schema.names, *unread()]))
    checks, raw = _Checks(batch.num_rows), {name: plain(batch.column(name)) for name in required}

    def where(column: str) -> str:
        return f"{source}: column '{column}' of the {roles.TABLE} table"

    named = {roles.ID: getattr(roles, roles.ID), **roles.text_roles}
    for role, names in named.items():
        for name in names:
            if role != "touchpoint":
                checks.bad(undecodable(raw[name]), f"{role} is not UTF-8")
            elif name not in features:
                checks.missing(name, undecodable(raw[name]), "touchpoint is not UTF-8")
    identities = {roles.ID: as_identifier(raw, named[roles.ID], where)}
    identities |= {role: as_joined_text(raw, names, where) for role, names in roles.text_roles.items()}
    without_id = np.zeros(batch.num_rows, bool)
    if roles.user_fallback:
        fallback = as_joined_text(raw, roles.user_fallback, where)
        identities["user_id"], without_id = _with_fallback(*identities["user_id"], *fallback)
    columns = {name: column for name, (column, _) in identities.items()}
    for name, (_, rounded) in identities.items():
        if name != "touchpoint":
            checks.bad(rounded[: batch.num_rows], f"{name} is a floating-point number that is no exact integer")
    if "touchpoint" in columns:  # A click without a touchpoint type is kept; the empty type is a type of its own.
        columns["touchpoint"] = columns["touchpoint"].fill_null("")
    if not batch.num_rows:
        columns = {name: column.slice(0, 0) for name, column in columns.items()}
    for name, column in columns.items():
        with_fallback = " and user_fallback are null" if name == "user_id" and roles.user_fallback else " is null"
        checks.bad(column.is_null(), name + with_fallback)

    found = as_times(raw[roles.timestamp], where(roles.timestamp), times)
    columns["timestamp"] = found.nanoseconds
    checks.bad(found.unreadable, "timestamp is not a time")
    checks.bad(columns["timestamp"].is_null(), "timestamp is null")
    checks.bad(pc.less(columns["timestamp"], 0), "timestamp is negative")
    checks.bad(pc.less(columns["timestamp"], bounds.earliest), "timestamp is before observed_from")
    checks.bad(
        pc.greater(columns["timestamp"], bounds.latest), f"timestamp is in the future: after {bounds.latest_name}"
    )
    if isinstance(roles, ConversionColumns):
        columns["value"] = _values(raw, roles, checks, where)
    for column, dtype in features.items():
        columns[FEATURE + column] = _feature(raw[column], column, dtype, checks, where(column))

    bad_index, reasons = checks.bad_rows()
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    if bad_index.size:
        rows = rows.take(pa.array(np.delete(np.arange(batch.num_rows), bad_index)))
    counts = (checks.missing_cells(), checks.good(without_id))
    return Normalised(rows, bad_index, reasons, *counts, found.zoned, found.zoneless)


def _with_fallback(
    users: pa.Array, rounded: np.ndarray, fallback: pa.Array, fallback_rounded: np.ndarray
) -> tuple[tuple[pa.Array, np.ndarray], np.ndarray]:
    """Users with the fallback in place of null and a mask of those that were rounded; and which have the fallback."""
    without_id = np.asarray(users.is_null()) & ~rounded
    escaped = pc.replace_substring_regex(users, rf"^({FALLBACK}|\\)", r"\\\1")
    marked = pc.binary_join_element_wise(FALLBACK, fallback, "")
    text = pc.if_else(pa.array(without_id), marked, escaped)
    return (text, rounded | (without_id & fallback_rounded)), without_id


def _values(raw, roles: ConversionColumns, checks: _Checks, where) -> pa.Array:
    if roles.value is None:
        return pa.array(np.ones(len(raw[roles.timestamp])))
    values, unreadable = as_numbers(raw[roles.value], where(roles.value))
    checks.missing(roles.value, unreadable, "value is not a number")
    checks.missing(roles.value, np.asarray(values.is_null()) & ~unreadable, VALUE_IS_NULL)
    if roles.negative_value != "missing":
        return values
    negative = pc.less(values, 0.0)
    checks.missing(roles.value, negative, "value is negative")
    return pc.if_else(negative, pa.scalar(None, pa.float64()), values)


def _feature(column: pa.Array, name: str, dtype: str, checks: _Checks, where: str) -> pa.Array:
    if dtype == "string":
        text, unreadable = as_feature_text(column, where)
        checks.missing(name, unreadable, "feature is not UTF-8")
        return text
    if dtype == "int64":
        numbers, unreadable = as_whole_numbers(column, where)
        checks.missing(name, unreadable, "feature is not a whole number")
        return numbers
    if dtype == NUMBER_LISTS:
        lists, unreadable = as_number_lists(column, where)
        checks.missing(name, unreadable, "feature is not a list of numbers")
        return lists
    numbers, unreadable = as_numbers(column, where)
    checks.missing(name, unreadable, "feature is not a number")
    return numbers.cast(ARROW_TYPE[dtype], safe=False)
