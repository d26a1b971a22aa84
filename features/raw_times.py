"""Conversion of raw Arrow columns to times in nanoseconds since 1970, exact whatever their unit, form and time zone."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.raw_columns import exact_integers, number_text, plain, wrong_type
from features.time_units import UNITS_PER_SECOND
from features.written_numbers import holds_digits_only, parsed_whole_numbers, without_exponent

#: All times are given in this many units per second.
NANOSECONDS = UNITS_PER_SECOND["ns"]

_ISO = (
    r"^(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9})\d*)?)?)?"
    r" ?(?P<zone>[Zz]|UTC|[+-]\d\d(?::?\d\d)?)?$"
)
_LARGEST = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class TimeFormat:
    """How raw timestamps are read.

    Attributes:
        units_per_second: of timestamps that are numbers since 1970.
        time_zone: IANA name of the zone of times without one; UTC if absent.
    """

    units_per_second: int
    time_zone: str | None = None


@dataclasses.dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes:
        nanoseconds: int64 since 1970, null where there is none; those that don't fit are the first or last that do.
        unreadable: mask of the values that are no times.
        zoned: whether any time has a time zone of its own.
        zoneless: whether any time is a date and time of day without a zone.
    """

    nanoseconds: pa.Array
    unreadable: np.ndarray
    zoned: bool = False
    zoneless: bool = False


def as_times(column: pa.Array, where: str, given: TimeFormat) -> Times:
    """Times of timestamps, dates, numbers since 1970, whole or with a fraction, and text of these or in ISO 8601.

    Truth values are no times.

    Raises:
        BadInput: the column is of a type that holds no times.
    """
    column = plain(column)
    kind = column.type
    none = np.zeros(len(column), bool)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("s"))
        units, zoned = UNITS_PER_SECOND[column.type.unit], column.type.tz is not None
        if not zoned and given.time_zone is not None:
            column = _localised(column, given.time_zone)
        some = column.null_count < len(column)
        return Times(_scaled(column.cast(pa.int64()), units), none, zoned and some, not zoned and some)
    if pa.types.is_uint64(kind):
        column = pc.min_element_wise(column, pa.scalar(_LARGEST, kind))
    if pa.types.is_integer(kind):
        return Times(_scaled(column.cast(pa.int64()), given.units_per_second), none)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column).cast(pa.float64())
        if pc.all(exact_integers(column)).as_py() is not False:
            return Times(_scaled(column.cast(pa.int64()), given.units_per_second), none)
    elif holds_digits_only(column):
        return Times(_scaled(column.cast(pa.int64()), given.units_per_second), none)
    elif not (
        pa.types.is_string(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind) or pa.types.is_binary(kind)
    ):
        raise wrong_type(where, "timestamps or numbers", kind)
    return _from_text(without_exponent(number_text(column, where)), given)


def finest_unit(nanoseconds: np.ndarray, units_per_second: int) -> int:
    """The coarsest unit that divides all times, in units per second, not coarser than the one given."""
    for units in sorted(UNITS_PER_SECOND.values()):
        if units >= units_per_second and not (nanoseconds % (NANOSECONDS // units)).any():
            return units
    return NANOSECONDS


def _from_text(text: pa.Array, given: TimeFormat) -> Times:
    nanoseconds = _scaled(parsed_whole_numbers(text), given.units_per_second)
    zoned = zoneless = False
    if nanoseconds.null_count > text.null_count:
        nanoseconds = pc.coalesce(nanoseconds, _with_fraction(text, given.units_per_second))
    if nanoseconds.null_count > text.null_count:
        rest = np.flatnonzero(np.asarray(pc.and_(pc.is_valid(text), pc.is_null(nanoseconds))))
        values, zone = _iso(text.take(pa.array(rest)), given.time_zone)
        filled = np.zeros(len(text), np.int64)
        filled[rest] = values.fill_null(0).to_numpy()
        missing = np.ones(len(text), bool)
        missing[rest] = np.asarray(values.is_null())
        nanoseconds = pc.coalesce(nanoseconds, pa.array(filled, mask=missing))
        valid = ~missing[rest]
        zoned, zoneless = bool((zone & valid).any()), bool((~zone & valid).any())
    unreadable = np.asarray(pc.and_(pc.is_valid(text), pc.is_null(nanoseconds)))
    return Times(nanoseconds, unreadable, zoned, zoneless)


def _scaled(values: pa.Array, units_per_second: int) -> pa.Array:
    """int64 time units as nanoseconds; what doesn't fit becomes the first or last time that does."""
    factor = NANOSECONDS // units_per_second
    limit = _LARGEST // factor - 1
    low, high = pa.scalar(-limit, pa.int64()), pa.scalar(limit, pa.int64())
    bounded = pc.max_element_wise(pc.min_element_wise(values, high, skip_nulls=False), low, skip_nulls=False)
    return pc.multiply(bounded, pa.scalar(factor, pa.int64()))


def _with_fraction(text: pa.Array, units_per_second: int) -> pa.Array:
    """Numbers such as 1709287200.25, in nanoseconds; digits beyond these are left out."""
    parts = pc.extract_regex(text, r"^\+?(?P<whole>\d{1,18})\.(?P<fraction>\d+)$")
    whole, fraction = (pc.struct_field(parts, [i]) for i in (0, 1))
    valid = np.asarray(parts.is_valid())
    blank = pa.array(~valid)
    places = len(str(NANOSECONDS // units_per_second)) - 1
    digits = pc.utf8_rpad(pc.utf8_slice_codeunits(fraction, 0, max(places, 1)), max(places, 1), "0")
    rest = pc.if_else(blank, "0", digits).cast(pa.int64()) if places else pa.array(np.zeros(len(text), np.int64))
    first = _scaled(pc.if_else(blank, "0", whole).cast(pa.int64()), units_per_second)
    return pc.if_else(blank, pa.scalar(None, pa.int64()), pc.add(first, rest))


def _iso(text: pa.Array, time_zone: str | None) -> tuple[pa.Array, np.ndarray]:
    """Times in nanoseconds, null where the text is none; and whether each has a zone."""
    parts = pc.extract_regex(text, _ISO)
    valid = np.asarray(parts.is_valid())

    def number(name: str, default: int) -> np.ndarray:
        digits = pc.struct_field(parts, [parts.type.get_field_index(name)])
        absent = pc.or_kleene(pc.is_null(digits), pc.equal(digits, ""))
        return pc.if_else(absent, str(default), digits).cast(pa.int64()).to_numpy()

    year, month, day = number("year", 1970), number("month", 1), number("day", 1)
    hour, minute, second = number("hour", 0), number("minute", 0), number("second", 0)
    valid &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("M8[M]").astype("M8[D]")
    valid &= day <= ((months + 1).astype("M8[M]").astype("M8[D]") - first).astype(np.int64)
    seconds = (first.astype(np.int64) + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second
    fraction = pc.struct_field(parts, [parts.type.get_field_index("fraction")])
    fraction = pc.utf8_rpad(pc.coalesce(fraction, "0"), 9, "0").cast(pa.int64()).to_numpy()

    zone = pc.coalesce(pc.struct_field(parts, [parts.type.get_field_index("zone")]), "")
    zoned = np.asarray(pc.not_equal(zone, ""))
    offset = pc.utf8_rpad(pc.replace_substring(zone, ":", ""), 5, "0")
    offset = pc.if_else(pc.match_substring_regex(offset, r"^[+-]\d{4}$"), offset, "+0000")
    hours, minutes = (pc.utf8_slice_codeunits(offset, at, at + 2).cast(pa.int64()).to_numpy() for at in (1, 3))
    valid &= (hours < 24) & (minutes < 60)
    ahead = np.where(np.asarray(pc.starts_with(offset, "-")), -1, 1) * (hours * 3_600 + minutes * 60)
    if time_zone is not None and not zoned.all():
        local = _localised(pa.array(np.where(valid, seconds, 0)).cast(pa.timestamp("s")), time_zone)
        seconds = np.where(zoned, seconds, local.cast(pa.int64()).to_numpy())
    nanoseconds = pc.add(_scaled(pa.array(seconds - ahead), 1), pa.array(fraction))
    return pc.if_else(pa.array(valid), nanoseconds, pa.scalar(None, pa.int64())), zoned


def _localised(times: pa.Array, time_zone: str) -> pa.Array:
    """Times of day in a zone as moments; an hour that clocks repeat is the first, one that they skip is when they had."""
    return pc.assume_timezone(times, time_zone, ambiguous="earliest", nonexistent="latest")
