import datetime
import decimal

import pyarrow as pa
import pytest

from features.errors import BadInput
from features.raw_times import TimeFormat, as_times, finest_unit

SECONDS = TimeFormat(1)
TEN = 1_709_287_200_000_000_000  # 2024-03-01T10:00:00Z


def _read(values, given=SECONDS, kind=None):
    found = as_times(pa.array(values, kind), "f", given)
    return [one if one is None else one - TEN for one in found.nanoseconds.to_pylist()]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("1709287200", 0),
        ("1709287200.0", 0),
        ("1709287200.25", 250_000_000),
        ("1.7092872E9", 0),
        ("17092872e2", 0),
        ("+1.70928720025E+9", 250_000_000),
        ("1709287200250e-3", 250_000_000),
        ("1709287200.123456789", 123_456_789),
        ("2024-03-01T10:00:00Z", 0),
        ("2024-03-01T10:00:00.250Z", 250_000_000),
        ("2024-03-01 10:00:00.000000001 UTC", 1),
        ("2024-03-01T11:00:00+01:00", 0),
        ("2024-03-01T04:30:00-0530", 0),
        ("20240301T100000Z", 0),
        ("2024-03-01T10:00+00", 0),
        ("2024-03-01 10:00:00", 0),
        ("2024-03-01", -36_000_000_000_000),
    ],
)
def test_text(text, after):
    assert _read([text, None, "", "\\N"]) == [after, None, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "2024-02-30",
        "2024-13-01",
        "2024-03-01T25:00",
        "1e300",
        "1e30",
        "true",
        "False",
        "2024-03-01T10:00+99:00",
    ],
)
def test_text_that_is_no_time(text):
    found = as_times(pa.array([text, "1709287200"]), "f", SECONDS)
    assert found.unreadable.tolist() == [True, False]
    assert found.nanoseconds.to_pylist() == [None, TEN]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1_709_287_200_250_000], pa.timestamp("us")),
        pa.array([1_709_287_200_250], pa.timestamp("ms", "America/New_York")),
        pa.array([1_709_287_200.25]),
        pa.array([decimal.Decimal("1709287200.25")]),
        pa.array(["1709287200.25"]).dictionary_encode(),
        pa.array([b"2024-03-01T10:00:00.25Z"]),
    ],
    ids=str,
)
def test_types(values):
    assert as_times(values, "f", SECONDS).nanoseconds.to_pylist() == [TEN + 250_000_000]


def test_numbers_are_in_the_given_unit():
    assert _read([1_709_287_200_001], TimeFormat(1_000)) == [1_000_000]
    assert _read(["1709287200001.5"], TimeFormat(1_000)) == [1_500_000]
    assert _read([TEN + 7], TimeFormat(10**9)) == [7]


def test_truth_values_are_no_times():
    with pytest.raises(BadInput, match="f: expected timestamps or numbers, found bool"):
        as_times(pa.array([True]), "f", SECONDS)


def test_zones():
    berlin = TimeFormat(1, "Europe/Berlin")
    assert _read(["2024-03-01T11:00:00", "2024-03-01T10:00:00Z"], berlin) == [0, 0]
    assert _read([datetime.datetime(2024, 3, 1, 11)], berlin, pa.timestamp("us")) == [0]
    mixed = as_times(pa.array(["2024-03-01T11:00:00", "2024-03-01T10:00:00Z", "1709287200"]), "f", SECONDS)
    assert (mixed.zoned, mixed.zoneless) == (True, True)
    numbers = as_times(pa.array(["1709287200"]), "f", SECONDS)
    assert (numbers.zoned, numbers.zoneless) == (False, False)


def test_times_that_do_not_fit_are_the_last_or_first_that_do():
    far = as_times(pa.array([253_402_300_799_000_000, -62_135_596_800_000_000], pa.timestamp("us")), "f", SECONDS)
    late, early = far.nanoseconds.to_pylist()
    assert late > 9.2e18
    assert early < -9.2e18
    assert as_times(pa.array([2**64 - 1], pa.uint64()), "f", SECONDS).nanoseconds.to_pylist()[0] > 9.2e18


@pytest.mark.parametrize(("after", "units"), [(0, 1), (5_000_000, 1_000), (5_000, 1_000_000), (5, 1_000_000_000)])
def test_the_finest_unit(after, units):
    times = pa.array([TEN, TEN + after]).to_numpy()
    assert finest_unit(times, 1) == units
    assert finest_unit(times, 1_000) == max(units, 1_000)
