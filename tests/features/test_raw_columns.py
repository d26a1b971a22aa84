import decimal
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.raw_columns import (
    as_feature_text,
    as_identifier,
    as_identity,
    as_numbers,
    as_text,
    as_whole_numbers,
    is_utf8,
    uuid_text,
)

D = decimal.Decimal


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([12, 2**63 - 1, None]), ["12", "9223372036854775807", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([12.0, float("nan"), None, -3.0]), ["12", None, None, "-3"]),
        (pa.array([12.0], pa.float32()), ["12"]),
        (
            pa.array(["12.0", "12", "7.00", "007", "1.5.0", "", "-0.50"]),
            ["12", "12", "7", "007", "1.5.0", None, "-0.50"],
        ),
        (
            pa.array(["9007199254740995.0", "9007199254740991.0", "-9007199254740992.00", "18446744073709551615.0"]),
            ["9007199254740995", "9007199254740991", "-9007199254740992", "18446744073709551615"],
        ),
        (pa.array([True, None]), ["true", None]),
        (pa.array(["True", "FALSE", "true", "truth"]), ["true", "false", "true", "truth"]),
        (pa.array([D("12.50"), D("7.00"), D("-0.05"), None]), ["12.50", "7", "-0.05", None]),
        (pa.array([D("9.25"), D("12.50"), None]).slice(1), ["12.50", None]),
        (pa.array([D(10**30)]), ["1" + "0" * 30]),
        (pa.array([D("12.50"), D("-7"), None, D("0")], pa.decimal128(38, 2)), ["12.50", "-7", None, "0"]),
        (
            pa.array([D(2**63 - 1), D(-(2**63)), D(2**63), D(-(2**64) - 1), None], pa.decimal128(38, 0)),
            ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "-18446744073709551617", None],
        ),
        (pa.array([D(1 - 2**63)], pa.decimal128(38, 0)), ["-9223372036854775807"]),
        (pa.array([D("1.5")], pa.decimal128(38, 20)), ["1.50000000000000000000"]),
        (pa.array([b"ab", b"\xff", None, "\ufffd".encode()]), ["ab", None, None, "\ufffd"]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    ],
    ids=str,
)
def test_identities(column, text):
    found, rounded = as_identity(column, "f")
    assert found.to_pylist() == text
    assert not rounded.any()


@pytest.mark.parametrize("value", [2.0**53, 1e300, "9007199254740992.0", "-9007199254740996.0", "1.5e+18", "1e+18"])
def test_rounded_identities_are_refused(value):
    found, rounded = as_identity(pa.array([value]), "f")
    assert (found.to_pylist(), rounded.tolist()) == ([None], [True])


@pytest.mark.parametrize("value", [12.5, -0.5, float("inf")])
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_numbers_with_a_fraction_are_no_identities_but_keep_their_text(value, kind):
    found, lost = as_identity(pa.array([value, 12.0, None, float("nan")], kind), "f")
    assert lost.tolist() == [True, False, False, False]
    assert found.to_pylist() == [str(value) if value != float("inf") else None, "12", None, None]


def test_an_identifier_is_int64_where_its_column_holds_numbers():
    for column in (pa.array([7, None]), pa.array([7.0, None]), pa.array([7, None], pa.int8())):
        assert as_identifier({"id": column}, ["id"], str)[0].type == pa.int64()
    found, rounded = as_identifier({"id": pa.array([7.5, 2.0**53, 7.0])}, ["id"], str)
    assert (found.to_pylist(), rounded.tolist()) == ([None, None, 7], [True, True, False])


def test_text_keeps_how_text_is_written():
    assert as_text(pa.array(["12.0", "+5", "007"]), "f").to_pylist() == ["12.0", "+5", "007"]
    assert as_text(pa.array([12.0, 0.5]), "f").to_pylist() == ["12.0", "0.5"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("+12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        ("0012", 12),
        ("9223372036854775807", 2**63 - 1),
        ("1000000000000000001.0", 10**18 + 1),
        ("-9223372036854775807", -(2**63) + 1),
        ("True", 1),
        ("1.7092908E9", 1_709_290_800),
        ("-120e-1", -12),
        ("1.00E+2", 100),
        ("0.E-22", 0),
        ("9.223372036854775807E18", 2**63 - 1),
        ("NULL", None),
        ("NA", None),
    ],
)
def test_whole_numbers(text, number):
    found, unreadable = as_whole_numbers(pa.array([text, "1"]), "f")
    assert (found.to_pylist(), unreadable.any()) == ([number, 1], False)


@pytest.mark.parametrize(
    "value",
    ["9223372036854775808", "-9223372036854775808", "1.5", "1.5E0", "1e19", "x", 1.5, 2.0**53, D("1.5"), -(2**63)],
)
def test_what_is_no_whole_number_of_64_bits(value):
    found, unreadable = as_whole_numbers(pa.array([value]), "f")
    assert (found.to_pylist(), unreadable.tolist()) == ([None], [True])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(1)])
def test_binary_values_that_are_not_utf8_are_unreadable(kind):
    column = pa.array([b"7", b"\xff", None], kind)
    for convert, values in ((as_feature_text, "7"), (as_whole_numbers, 7), (as_numbers, 7.0)):
        found, unreadable = convert(column, "f")
        assert (found.to_pylist(), unreadable.tolist()) == ([values, None, None], [False, True, False])


def test_numbers():
    found, unreadable = as_numbers(pa.array(["+5", ".5", "1e3", "true", "\\N", "x", " 7 "]), "f")
    assert found.to_pylist() == [5.0, 0.5, 1000.0, 1.0, None, None, 7.0]
    assert unreadable.tolist() == [False] * 5 + [True, False]
    assert as_numbers(pa.array([D("12.50")]), "f")[0].to_pylist() == [12.5]
    assert as_numbers(pa.array([True, None]), "f")[0].to_pylist() == [1.0, None]


def test_uuids():
    known = uuid.UUID("12345678-9abc-def0-0123-456789abcdef")
    column = pa.array([bytes(16), known.bytes, None], pa.binary(16))
    assert uuid_text(column.slice(1)).to_pylist() == [str(known), None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_a_slice_of_text_means_what_it_means_alone(kind):
    texts = ["abc", "u1", "", "longer than the others", "u1"]
    part = pa.array(texts).cast(kind).slice(1, 3)
    text, (identity, _) = as_text(part, "x"), as_identifier({"c": part}, ["c"], lambda name: name)
    for column in (text, identity):
        column.validate(full=True)
        assert column.to_pylist() == ["u1", None, "longer than the others"]


@given(
    st.binary() | st.text().map(str.encode),
    st.sampled_from([b"", b"\xe9", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]),
)
def test_bytes_are_text_if_python_decodes_them(data, end):
    try:
        (data + end).decode()
    except UnicodeDecodeError:
        assert not is_utf8(data + end)
    else:
        assert is_utf8(data + end)
