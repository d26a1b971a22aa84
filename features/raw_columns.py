"""Conversion of raw Arrow columns to text, whole numbers, numbers and lists of numbers, with masks of unreadable values."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput

#: Separates the values of a list that is given as text.
VALUE_SEPARATOR = "|"

#: Separates the parts of a role made of several columns, such as a match key of advertiser and product.
ROLE_SEPARATOR = ":"


_UNIT_NAMES = {1: "s", 1_000: "ms", 1_000_000: "us"}


def as_identifier(raw, names, where) -> pa.Array:
    """Identifiers as int64 if they are a single column of integers, otherwise as text."""
    column = raw[names[0]]
    if len(names) == 1 and pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return column.cast(pa.int64())
    return as_joined_text(raw, names, where)


def as_joined_text(raw, names, where) -> pa.Array:
    """Several columns joined into one text column, with each part escaped. Without columns the text is empty."""
    if not names:
        rows = len(next(iter(raw.values())))
        return pa.array(np.full(rows, ""), pa.string())
    parts = [as_text(raw[name], where(name)) for name in names]
    if len(parts) == 1:
        return parts[0]
    # Escaped, so that ("a:b", "c") and ("a", "b:c") stay apart.
    parts = [
        pc.replace_substring(pc.replace_substring(p, "\\", "\\\\"), ROLE_SEPARATOR, "\\" + ROLE_SEPARATOR)
        for p in parts
    ]
    return pc.binary_join_element_wise(*parts, ROLE_SEPARATOR)


def _wrong_type(where: str, expected: str, found: pa.DataType) -> BadInput:
    return BadInput(f"{where}: expected {expected}, found {found}. Convert the column, or name another.")


def as_text(column: pa.Array, where: str) -> pa.Array:
    """Text of strings, integers and booleans; the empty string is null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode(), where)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise _wrong_type(where, "strings or integers", kind)
    column = column.cast(pa.string())
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def as_whole_numbers(column: pa.Array, where: str, units_per_second: int | None = None) -> tuple[pa.Array, np.ndarray]:
    """int64 numbers, null where unreadable, and a mask of the unreadable values. Nulls and NaN count as readable."""
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
        return as_whole_numbers(column.dictionary_decode(), where, units_per_second)
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


def as_numbers(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Finite float64 numbers, null where unreadable, and a mask of the unreadable values. Nulls and NaN count as readable."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_numbers(column.dictionary_decode(), where)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        numbers = column.cast(pa.float64(), safe=False)
        present = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = column.cast(pa.string())
        empty = pc.match_substring_regex(text, r"^(|nan|NaN|NA|null)$")
        present = pc.if_else(empty, pa.scalar(None, pa.string()), text)
        number = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        numbers = pc.if_else(number, text, pa.scalar(None, pa.string())).cast(pa.float64())
    else:
        raise _wrong_type(where, "numbers", kind)
    # A feature beyond the range of float32 would become infinite.
    finite = pc.less_equal(pc.abs(numbers), float(np.finfo(np.float32).max))
    readable = pc.if_else(finite, numbers, pa.scalar(None, pa.float64()))
    return readable, _lost(present, readable)


def as_number_lists(column: pa.Array, where: str) -> tuple[pa.ListArray, np.ndarray]:
    """float32 lists, empty where null and with NaN for missing numbers, and a mask of the rows with unreadable numbers."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_number_lists(column.dictionary_decode(), where)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        column = pc.split_pattern(as_text(column, where), VALUE_SEPARATOR)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise _wrong_type(where, f"lists of numbers, or numbers joined by {VALUE_SEPARATOR}", kind)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    numbers, lost = as_numbers(column.flatten(), where)
    bad = np.zeros(len(column), bool)
    bad[np.repeat(np.arange(len(column)), lengths)[lost]] = True
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, numbers.cast(pa.float32(), safe=False).fill_null(np.nan)), bad


def _lost(before: pa.Array, after: pa.Array) -> np.ndarray:
    return np.asarray(pc.and_(pc.is_valid(before), pc.is_null(after)))
