"""Conversion of raw Arrow columns to text, integers, numbers and lists of numbers, with masks of unreadable values.

A value means the same whatever the file's format makes of it: a number may also come as text, a decimal or, if it is whole and
below 2^53, as a floating-point number; a truth value as the text `True`; text as binary; a category as a dictionary.
"""

import decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import BadInput
from features.feature import INT64_MISSING
from features.written_numbers import holds, holds_digits_only, parsed_whole_numbers, without_exponent

#: Separates the values of a list given as text.
VALUE_SEPARATOR = "|"

#: Separates the parts of a role that is made of several columns, such as a match key of advertiser and product.
ROLE_SEPARATOR = ":"

#: Words that CSV files hold in place of null. `NA` is one where a number is expected only, as it is also Namibia.
NULL_WORDS = (
    "",
    "\\N",
    "NULL",
    "null",
    "None",
    "NaN",
    "nan",
    "NaT",
    "N/A",
    "n/a",
    "<NA>",
    "<null>",
    "(null)",
    "(not set)",
)

_NULL_NUMBERS = pa.array([*NULL_WORDS, "NA"])
_NO_TEXT = pa.scalar(None, pa.string())
_WORDS = pa.array(["True", "TRUE", "False", "FALSE"])

#: Floating-point numbers from here on stand for several integers each.
_EXACT_BELOW = 2.0**53


def as_identifier(raw, names, where) -> tuple[pa.Array, np.ndarray]:
    """Identifiers, int64 if they are one column of numbers, else text; and a mask of those that were rounded."""
    column = plain(raw[names[0]])
    if len(names) == 1 and pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return column.cast(pa.int64()), np.zeros(len(column), bool)
    if len(names) == 1 and pa.types.is_floating(column.type):
        return as_whole_numbers(column, where(names[0]))
    return as_joined_text(raw, names, where)


def as_joined_text(raw, names, where) -> tuple[pa.Array, np.ndarray]:
    """Identities of several columns as one text column, with each part escaped, and a mask of those that were rounded.

    Without columns the text is empty.
    """
    if not names:
        rows = len(next(iter(raw.values())))
        return pa.array(np.full(rows, ""), pa.string()), np.zeros(rows, bool)
    parts, masks = zip(*(as_identity(raw[name], where(name)) for name in names), strict=True)
    lost = np.logical_or.reduce(masks)
    if len(parts) == 1:
        return parts[0], lost
    # Parts are escaped so that ("a:b", "c") and ("a", "b:c") differ.
    escaped = [
        pc.replace_substring(pc.replace_substring(p, "\\", "\\\\"), ROLE_SEPARATOR, "\\" + ROLE_SEPARATOR)
        for p in parts
    ]
    return pc.binary_join_element_wise(*escaped, ROLE_SEPARATOR), lost


def as_identity(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Text that compares equal where values do: `12.0` is 12. And a mask of floating-point numbers that are no exact integer.

    Those with a fraction keep their text, as values of `where` and touchpoints have it; of the others it is null.
    """
    column = plain(column)
    if pa.types.is_floating(column.type):
        text, whole, exact = as_text(column, where), pc.equal(pc.floor(column), column), exact_integers(column)
        integers = pc.if_else(exact, column, pa.scalar(None, column.type)).cast(pa.int64())
        rounded = pc.and_not(whole, exact).fill_null(False)
        text = pc.if_else(rounded, _NO_TEXT, pc.coalesce(integers.cast(pa.string()), text))
        return text, np.asarray(pc.or_(rounded, pc.and_(pc.is_valid(text), pc.invert(whole).fill_null(False))))
    text = as_text(column, where)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return text, np.zeros(len(text), bool)
    lost = np.zeros(len(text), bool)
    if not pa.types.is_decimal(column.type) and holds(text, b"e+"):
        lost |= np.asarray(pc.match_substring_regex(text, r"^-?\d(\.\d+)?e\+\d\d$").fill_null(False))
    if holds(text, b".0"):
        if not pa.types.is_decimal(column.type):
            # Such are written by programs that read an integer as a float, never odd.
            even = pc.match_substring_regex(text, r"^-?9\d{14}[02468]\.0$")
            large = pc.if_else(even, text, _NO_TEXT).cast(pa.float64())
            lost |= np.asarray(pc.greater_equal(pc.abs(large), _EXACT_BELOW).fill_null(False))
        text = pc.replace_substring_regex(text, r"^(-?(?:0|[1-9]\d*))\.0+$", r"\1")
    return (pc.if_else(pa.array(lost), _NO_TEXT, text) if lost.any() else text), lost


def exact_integers(column: pa.Array) -> pa.Array:
    """Mask of the floating-point numbers that are an integer, and stand for no other one; null where they are."""
    return pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _EXACT_BELOW))


def wrong_type(where: str, expected: str, found: pa.DataType) -> BadInput:
    """The error for a column whose type doesn't suit its use."""
    if pa.types.is_struct(found):
        fields = ", ".join(f"{field.name} ({field.type})" for field in found)
        return BadInput(f"{where}: expected {expected}, found a struct. Name one of its fields, after a dot: {fields}.")
    return BadInput(f"{where}: expected {expected}, found {found}. Convert the column, or name another.")


def as_text(column: pa.Array, where: str) -> pa.Array:
    """Text of strings, numbers, truth values (`true`, `false`), dates and binary; the empty string is null."""
    column = plain(column)
    kind = column.type
    if pa.types.is_string(kind):
        # Truth values are written `True` by pandas and `true` by Arrow and JSON.
        if holds(column, b"rue", b"RUE", b"alse", b"ALSE"):
            column = pc.if_else(pc.is_in(column, value_set=_WORDS), pc.ascii_lower(column), column)
    elif pa.types.is_floating(kind):
        column = _float_text(column)
    elif pa.types.is_decimal(kind):
        column = _decimal_text(column)
    elif pa.types.is_binary(kind):
        column = as_utf8(column)
    elif not (
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_date(kind)
    ):
        raise wrong_type(where, "strings or integers", kind)
    column = column.cast(pa.string())
    return pc.if_else(pc.equal(column, ""), _NO_TEXT, column)


def as_feature_text(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Text as of `as_text`, and a mask of binary values that are not UTF-8."""
    return as_text(column, where), undecodable(column)


def undecodable(column: pa.Array) -> np.ndarray:
    """Mask of binary values that are not UTF-8."""
    column = plain(column)
    return _lost(column, as_utf8(column)) if pa.types.is_binary(column.type) else np.zeros(len(column), bool)


def as_whole_numbers(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """int64 numbers, null where unreadable, and a mask of the unreadable values. Nulls and NaN count as readable.

    The lowest number is unreadable, as it stands for missing values.
    """
    column = raw = plain(column)
    kind = column.type
    if pa.types.is_uint64(kind):
        fits = pc.less_equal(column, pa.scalar(2**63 - 1, kind))
        readable = pc.if_else(fits, column, pa.scalar(None, kind)).cast(pa.int64())
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        readable = column.cast(pa.int64())
    elif pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
        readable = pc.if_else(exact_integers(column), column, pa.scalar(None, pa.float64())).cast(pa.int64())
    elif holds_digits_only(column):
        readable = column.cast(pa.int64())
    elif pa.types.is_string(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind) or pa.types.is_binary(kind):
        column = _with_truth(number_text(column, where))
        readable = parsed_whole_numbers(without_exponent(column))
    else:
        raise wrong_type(where, "whole numbers", kind)
    readable = pc.if_else(pc.equal(readable, INT64_MISSING), pa.scalar(None, pa.int64()), readable)
    return readable, _lost(column, readable) | undecodable(raw)


def as_numbers(column: pa.Array, where: str) -> tuple[pa.Array, np.ndarray]:
    """Finite float64 numbers, null where unreadable, and a mask of the unreadable values. Nulls and NaN count as readable."""
    column = plain(column)
    kind = column.type
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.int8()), pa.int8()
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind):
        numbers = column.cast(pa.float64(), safe=False)
        present = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        present = _with_truth(number_text(column, where))
        number = pc.match_substring_regex(present, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        numbers = pc.utf8_ltrim(pc.if_else(number, present, _NO_TEXT), "+").cast(pa.float64())
    else:
        raise wrong_type(where, "numbers", kind)
    # Features are float32, in which larger values become infinite.
    finite = pc.less_equal(pc.abs(numbers), float(np.finfo(np.float32).max))
    readable = pc.if_else(finite, numbers, pa.scalar(None, pa.float64()))
    return readable, _lost(present, readable) | undecodable(column)


def as_number_lists(column: pa.Array, where: str) -> tuple[pa.ListArray, np.ndarray]:
    """float32 lists, empty where null and with NaN for missing numbers, and a mask of the rows with unreadable numbers."""
    flat, lengths = as_flat_lists(column, where, "numbers")
    numbers, lost = as_numbers(flat, where)
    bad = undecodable(column)
    bad[np.repeat(np.arange(lengths.size), lengths)[lost]] = True
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, numbers.cast(pa.float32(), safe=False).fill_null(np.nan)), bad


def as_flat_lists(column: pa.Array, where: str, of: str) -> tuple[pa.Array, np.ndarray]:
    """The values of lists, or of text joined by `VALUE_SEPARATOR`, one after the other, and the length of each list."""
    column = plain(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_null(kind) or pa.types.is_binary(kind):
        column = pc.split_pattern(as_text(column, where), VALUE_SEPARATOR)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise wrong_type(where, f"lists of {of}, or {of} joined by {VALUE_SEPARATOR}", kind)
    return column.flatten(), pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)


def uuid_text(column: pa.Array) -> pa.Array:
    """Text such as 123e4567-e89b-12d3-a456-426614174000 of UUIDs, which Parquet stores as 16 bytes."""
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    data = pc.if_else(column.is_valid(), column, pa.scalar(bytes(16), column.type))
    bytes_ = np.frombuffer(data.cast(pa.binary()).buffers()[2] or b"", np.uint8, 16 * len(data)).reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[np.stack([bytes_ >> 4, bytes_ & 15], 2).reshape(-1, 32)]
    dash = np.full((len(data), 1), ord("-"), np.uint8)
    text = np.hstack([part for cut in np.split(digits, [8, 12, 16, 20], 1) for part in (dash, cut)][1:])
    offsets = np.arange(len(data) + 1, dtype=np.int32) * 36
    strings = pa.StringArray.from_buffers(len(data), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text)))
    return pc.if_else(column.is_valid(), strings, _NO_TEXT)


def plain(column: pa.Array) -> pa.Array:
    """The column without encodings that its values don't depend on."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if isinstance(column, pa.ExtensionArray):
        return uuid_text(column) if getattr(kind, "extension_name", "") == "arrow.uuid" else plain(column.storage)
    if pa.types.is_large_string(kind) or str(kind) == "string_view":
        return without_offset(column.cast(pa.string()))
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or str(kind) == "binary_view":
        return without_offset(column.cast(pa.binary()))
    if pa.types.is_float16(kind):  # Arrow casts it from version 21 on.
        return pa.array(column.to_numpy(zero_copy_only=False).astype(np.float32), from_pandas=True)
    return without_offset(column)


def without_offset(column: pa.Array) -> pa.Array:
    """Copies text that is a slice of a longer array, from which `if_else` of pyarrow 23 makes invalid arrays."""
    if not len(column) or not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return column
    begins_at = np.frombuffer(column.buffers()[1], np.int32, 1, 4 * column.offset)[0]  # Casts of slices keep it.
    return column.take(pa.array(np.arange(len(column)))) if column.offset or begins_at else column


def _float_text(column: pa.Array) -> pa.Array:
    """`0.5`, and `12.0` for whole numbers, as CSV and JSON files hold them; NaN is null."""
    text = column.cast(pa.string())
    text = pc.if_else(pc.match_substring_regex(text, r"^-?\d+$"), pc.binary_join_element_wise(text, ".0", ""), text)
    return pc.if_else(pc.is_nan(column), _NO_TEXT, text)


def _decimal_text(column: pa.Array) -> pa.Array:
    """`12.50` of a decimal of scale 2."""
    scale, numbers = column.type.scale, _unscaled(column)
    if numbers is None:
        with decimal.localcontext() as context:
            context.prec = 80
            return pa.array([None if one is None else f"{one:f}" for one in column.to_pylist()], pa.string())
    size = np.abs(numbers)
    sign = pa.array(np.where(numbers < 0, "-", ""), pa.string())
    whole = pa.array(size // 10**scale).cast(pa.string())
    parts = [sign, whole]
    if scale:
        parts += [
            pa.array(np.full(len(column), ".")),
            pc.utf8_lpad(pa.array(size % 10**scale).cast(pa.string()), scale, "0"),
        ]
    return pc.if_else(column.is_valid(), pc.binary_join_element_wise(*parts, ""), _NO_TEXT)


def _unscaled(column: pa.Array) -> np.ndarray | None:
    """The digits of decimals as int64, with any number for null; None if these can't hold them."""
    if column.type.bit_width != 128 or not 0 <= column.type.scale <= 18:
        return None
    words = np.frombuffer(column.buffers()[1] or b"", np.int64)[2 * column.offset :][: 2 * len(column)]
    low, high = words.reshape(-1, 2).T
    fits = (high == low >> 63) & (low > np.iinfo(np.int64).min)
    return low if fits[np.asarray(column.is_valid())].all() else None


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8 text; they are not copied."""
    ends = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(data)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def as_utf8(column: pa.Array) -> pa.Array:
    """The text that bytes encode, null where they are not UTF-8."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if one is None else one.decode(errors="replace") for one in column.to_pylist()]
        text = pa.array(texts, pa.string())
        return pc.if_else(pc.equal(text.cast(pa.binary()), column), text, _NO_TEXT)


def number_text(column: pa.Array, where: str) -> pa.Array:
    """Text of numbers without the space around, null where it is a word for null."""
    text = pc.utf8_trim_whitespace(as_text(column, where))
    return pc.if_else(pc.is_in(text, value_set=_NULL_NUMBERS), _NO_TEXT, text)


def _with_truth(text: pa.Array) -> pa.Array:
    """The text with 1 and 0 for truth values."""
    if not holds(text, b"true", b"false"):
        return text
    return pc.if_else(pc.equal(text, "true"), "1", pc.if_else(pc.equal(text, "false"), "0", text))


def _lost(before: pa.Array, after: pa.Array) -> np.ndarray:
    return np.asarray(pc.and_(pc.is_valid(before), pc.is_null(after)))
