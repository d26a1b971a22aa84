"""Numbers that are given as text, exact whatever their size."""

import re

import pyarrow as pa
import pyarrow.compute as pc


def parsed_whole_numbers(text: pa.Array) -> pa.Array:
    """int64 numbers, null where the text is none: `12`, `+12`, `12.0`."""
    if holds_digits_only(text):
        return text.cast(pa.int64())
    number = pc.match_substring_regex(text, r"^[+-]?\d+(\.0*)?$")
    digits = pc.replace_substring_regex(
        pc.if_else(number, text, pa.scalar(None, pa.string())), r"^\+?(-?)0*(\d+?)(?:\.0*)?$", r"\1\2"
    )
    length = pc.subtract(pc.utf8_length(digits), pc.starts_with(digits, "-").cast(pa.int32()))
    # Of equally many digits, text is in the order of the numbers.
    largest = pc.if_else(pc.starts_with(digits, "-"), str(-(2**63)), str(2**63 - 1))
    fits = pc.or_(pc.less(length, 19), pc.and_(pc.equal(length, 19), pc.less_equal(digits, largest)))
    return pc.if_else(fits, digits, pa.scalar(None, pa.string())).cast(pa.int64())


def without_exponent(text: pa.Array) -> pa.Array:
    """The text with `1709287200` in place of `1.7092872E9`, as Java and Spark write numbers; exact."""
    if not holds(text, b"e", b"E"):
        return text
    parts = pc.extract_regex(text, r"^(?P<sign>[+-]?)(?P<whole>\d*)\.?(?P<rest>\d*)[eE](?P<exponent>[+-]?\d{1,2})$")
    sign, whole, rest, exponent = (pc.struct_field(parts, [i]) for i in range(4))
    shift = pc.utf8_ltrim(exponent, "+").cast(pa.int64())
    shift = pc.if_else(pc.equal(pc.binary_join_element_wise(whole, rest, ""), ""), pa.scalar(None, pa.int64()), shift)
    for places in pc.unique(shift.drop_null()).to_pylist():
        if places >= 0:
            digits = pc.binary_join_element_wise(whole, pc.utf8_rpad(rest, places, "0"), ".")
            moved = pc.replace_substring_regex(digits, rf"\.(\d{{{places}}})(\d*)$", r"\1.\2")
        else:
            digits = pc.binary_join_element_wise(pc.utf8_lpad(whole, -places, "0"), rest, ".")
            moved = pc.replace_substring_regex(digits, rf"(\d{{{-places}}})\.(\d*)$", r".\1\2")
        number = pc.utf8_rtrim(pc.utf8_rtrim(moved, "0"), ".")
        number = pc.if_else(
            pc.or_(pc.equal(number, ""), pc.starts_with(number, ".")),
            pc.binary_join_element_wise("0", number, ""),
            number,
        )
        written = pc.binary_join_element_wise(sign, number, "")
        text = pc.if_else(pc.equal(shift, places).fill_null(False), written, text)
    return text


def holds_digits_only(column: pa.Array) -> bool:
    """Whether a column is text of integers that surely fit."""
    if not pa.types.is_string(column.type):
        return False
    return pc.all(pc.match_substring_regex(column, r"^-?\d{1,18}$")).as_py() is not False


def holds(text: pa.Array, *parts: bytes) -> bool:
    """Whether any of the parts may occur in the text: a look at its bytes, which is faster than one at each value."""
    data = text.buffers()[2] or b""
    return any(re.search(re.escape(part), data) for part in parts)
