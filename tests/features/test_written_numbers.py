import decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.written_numbers import without_exponent

D = decimal.Decimal
NUMBERS = st.decimals(-(10**25), 10**25, allow_nan=False).filter(lambda number: abs(number.adjusted()) < 90)


@given(st.lists(NUMBERS | st.sampled_from([D("1.7092908E9"), D("0E+5"), D("-5E-7")])), st.booleans())
def test_exponents_are_written_out_exactly(numbers, signed):
    written = [f"{number:{'+' if signed else ''}.30E}" for number in numbers]
    found = without_exponent(pa.array(written, pa.string())).to_pylist()
    assert [D(text) for text in found] == [D(text) for text in written]
    assert not any("E" in text for text in found)


@pytest.mark.parametrize("text", ["e5", ".e5", "1e", "1e5x", "1e+", "1.2.3e4", "true", None, ""])
def test_what_is_no_number_with_an_exponent_stays(text):
    assert without_exponent(pa.array([text, "12E1"])).to_pylist() == [text, "120"]
