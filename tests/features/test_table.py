import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import MalTfError
from features.feature import NUMBER_LISTS
from features.raw_times import NANOSECONDS, TimeFormat
from features.table import ClickColumns, ConversionColumns, TimeBounds, normalise, parts

CLICKS = ClickColumns(click_id="id", user_id="user", timestamp="ts", match_key=("shop", "item"), touchpoint="channel")
CONVERSIONS = ConversionColumns(conversion_id="id", user_id="user", timestamp="ts", value="worth")
BOUNDS = TimeBounds(100, 200)


def _clicks(**columns):
    good = {"id": pa.array([7]), "user": pa.array(["u"]), "ts": pa.array([150]), "shop": pa.array(["s"])}
    good |= {"item": pa.array([3]), "channel": pa.array(["c"]), "price": pa.array([1.5])}
    return pa.RecordBatch.from_pydict(good | columns)


def _run(batch, roles=CLICKS, features=None, units=NANOSECONDS):
    return normalise(batch, roles, features or {}, BOUNDS, TimeFormat(units), "day1.parquet")


def test_canonical_columns():
    rows = _run(_clicks(), features={"price": "float32", "item": "string"}).rows
    assert rows.to_pylist() == [
        {
            "click_id": 7,
            "user_id": "u",
            "match_key": "s:3",
            "touchpoint": "c",
            "timestamp": 150,
            "feature/price": 1.5,
            "feature/item": "3",
        }
    ]


@given(st.lists(st.text(st.sampled_from("a:\\\\é"), min_size=1), min_size=2, max_size=2))
def test_a_role_of_several_columns_comes_apart_again(values):
    (row,) = _run(_clicks(shop=pa.array(values[:1]), item=pa.array(values[1:]))).rows.to_pylist()
    assert parts(row["match_key"], 2) == tuple(values)
    assert (parts("a:b", 1), parts("", 0)) == (("a:b",), ())


def test_missing_column_names_column_file_and_what_there_is():
    batch = _clicks()
    kept = [name for name in batch.schema.names if name != "shop"]
    batch = pa.RecordBatch.from_arrays([batch.column(batch.schema.names.index(name)) for name in kept], kept)
    with pytest.raises(MalTfError, match=r"day1\.parquet.*'shop'.*clicks table is missing.*channel"):
        _run(batch)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [("user", [[1.5]], "strings or integers"), ("ts", [True], "timestamps or numbers"), ("price", [["x"]], "numbers")],
)
def test_wrong_type(column, values, expected):
    with pytest.raises(MalTfError, match=rf"day1\.parquet.*'{column}'.*expected {expected}, found"):
        _run(_clicks(**{column: values}), features={"price": "float32"})


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("id", None, "click_id is null"),
        ("user", "", "user_id is null"),
        ("item", None, "match_key is null"),
        ("ts", None, "timestamp is null"),
        ("ts", 1e300, "timestamp is not a time"),
        ("ts", "soon", "timestamp is not a time"),
        ("user", 2.0**53, "user_id is a floating-point number that is no exact integer"),
        ("user", 12.5, "user_id is a floating-point number that is no exact integer"),
        ("user", b"\xff", "user_id is not UTF-8"),
        ("shop", b"\xff", "match_key is not UTF-8"),
        ("ts", "true", "timestamp is not a time"),
        ("id", 7.5, "click_id is a floating-point number that is no exact integer"),
        ("ts", -1, "timestamp is negative"),
        ("ts", 99, "timestamp is before observed_from"),
        ("ts", 201, "timestamp is in the future: after observed_until"),
    ],
)
def test_bad_rows(column, value, reason):
    raw = pa.array([None], pa.int64()) if value is None else pa.array([value])
    found = _run(_clicks(**{column: raw}), features={"price": "float32"})
    assert (found.rows.num_rows, found.bad_index.tolist(), found.reasons) == (0, [0], [reason])


def test_a_touchpoint_may_be_a_number_with_a_fraction():
    assert _run(_clicks(channel=pa.array([0.5]))).rows["touchpoint"].to_pylist() == ["0.5"]


def test_a_user_that_is_not_utf8_is_no_fallback():
    roles = CLICKS.model_copy(update={"user_fallback": ("channel",)})
    assert _run(_clicks(user=pa.array([b"\xff"])), roles).reasons == ["user_id is not UTF-8"]


def test_binary_cells_that_are_not_utf8_are_missing_and_the_click_stays():
    coded = {name: pa.array([b"\xff"]) for name in ("channel", "price", "s", "i", "l")}
    features = {"price": "float32", "s": "string", "i": "int64", "l": NUMBER_LISTS}
    found = _run(_clicks(**coded), features=features)
    assert found.rows.num_rows == 1
    assert set(found.missing) == {
        ("channel", "touchpoint is not UTF-8"),
        ("price", "feature is not a number"),
        ("s", "feature is not UTF-8"),
        ("i", "feature is not a whole number"),
        ("l", "feature is not a list of numbers"),
    }


def test_bounds_are_included_and_bad_rows_keep_their_place():
    batch = pa.RecordBatch.from_pydict(
        {"id": ["a", "b", "c", "d"], "user": ["u"] * 4, "ts": [100, 99, 200, 201], "worth": [0.0, 1.0, 2.0, 3.0]}
    )
    found = _run(batch, CONVERSIONS)
    assert found.bad_index.tolist() == [1, 3]
    assert found.rows.column(found.rows.schema.names.index("conversion_id")).to_pylist() == ["a", "c"]


SPELT = (
    st.none()
    | st.text(st.sampled_from("\\:7fallbck"), min_size=1, max_size=3)
    | st.sampled_from(["fallback:7", "\\fallback:7", "fallback:", "\\7", "7"])
)


@given(st.lists(st.tuples(SPELT, SPELT), min_size=1, max_size=9))
def test_a_fallback_is_no_user_of_the_same_spelling(pairs):
    """Whatever ids and devices look like: the users are as many as there are."""
    users, devices = (pa.array(column, pa.string()) for column in zip(*pairs, strict=True))
    rows = len(pairs)
    batch = pa.RecordBatch.from_pydict(
        {"id": pa.array(range(rows)), "user": users, "device": devices, "ts": [150] * rows}
    )
    roles = ClickColumns(click_id="id", user_id="user", user_fallback="device", timestamp="ts")
    found = _run(batch, roles)
    assert found.reasons == ["user_id and user_fallback are null"] * pairs.count((None, None))
    known = [(user, user is None and device) for user, device in pairs if (user, device) != (None, None)]
    assert found.fallbacks == sum(user is None for user, _ in known)
    text = found.rows["user_id"].to_pylist()
    assert len(set(text)) == len(set(known)) == len(set(zip(text, known, strict=True)))
    assert all(t == user for t, (user, _) in zip(text, known, strict=True) if user and user[0] not in "f\\")


@pytest.mark.parametrize(
    ("user", "device", "expected"),
    [
        (pa.array([None], pa.int64()), pa.array(["7"]), "fallback:7"),
        (pa.array([7]), pa.array([None], pa.string()), "7"),
        (pa.array([None], pa.string()), pa.array([7.0]), "fallback:7"),
        (pa.array([""]), pa.array([b"d"]), "fallback:d"),
        (pa.array([float("nan")]), pa.array([2**63], pa.uint64()), "fallback:9223372036854775808"),
        (pa.array([2.0**60]), pa.array(["d"]), None),  # The user is not missing, but unknown.
        (pa.array([None], pa.float64()), pa.array([2.0**60]), None),
    ],
)
def test_types_of_users_and_fallbacks(user, device, expected):
    roles = ClickColumns(click_id="id", user_id="user", user_fallback="device", timestamp="ts")
    found = _run(pa.RecordBatch.from_pydict({"id": pa.array([1]), "user": user, "device": device, "ts": [150]}), roles)
    assert found.rows["user_id"].to_pylist() == ([] if expected is None else [expected])
    assert found.reasons == ([] if expected else ["user_id is a floating-point number that is no exact integer"])


def test_null_touchpoint_is_its_own_type():
    found = _run(_clicks(channel=pa.array([None], pa.string())))
    assert found.reasons == []
    assert found.rows.to_pylist()[0]["touchpoint"] == ""


@pytest.mark.parametrize(
    ("worth", "reason"),
    [(-0.5, "value is negative"), ("gold", "value is not a number"), (None, "value is null"), ("", "value is null")],
)
def test_a_value_that_can_not_be_used_is_missing_and_the_conversion_stays(worth, reason):
    rows = {"id": [1, 2, 3], "user": ["u", None, "u"], "ts": [150] * 3, "worth": [worth, worth, None]}
    found = _run(pa.RecordBatch.from_pydict(rows), CONVERSIONS)
    assert found.rows.to_pydict()["value"] == [None, None]
    assert found.reasons == ["user_id is null"]  # Its value is not counted.
    expected = {("worth", "value is null"): 1, ("worth", reason): 1 + (reason == "value is null")}
    assert found.missing == expected


@pytest.mark.parametrize(
    ("meaning", "values"), [("missing", [None, 2.0]), ("keep", [-5.0, 2.0]), ("refund", [-5.0, 2.0])]
)
def test_what_a_negative_value_means(meaning, values):
    batch = pa.RecordBatch.from_pydict({"id": [1, 2], "user": ["u"] * 2, "ts": [150] * 2, "worth": [-5.0, 2.0]})
    found = _run(batch, CONVERSIONS.model_copy(update={"negative_value": meaning}))
    assert found.rows.to_pydict()["value"] == values
    assert found.missing == ({("worth", "value is negative"): 1} if meaning == "missing" else {})


def test_a_feature_that_can_not_be_read_is_missing_and_the_click_stays():
    found = _run(_clicks(price=pa.array(["dear"])), features={"price": "float32"})
    assert found.rows.to_pydict()["feature/price"] == [None]
    assert (found.reasons, found.missing) == ([], {("price", "feature is not a number"): 1})
    assert _run(_clicks(price=pa.array([""])), features={"price": "float32"}).missing == {}


def test_value_is_one_when_absent():
    batch = pa.RecordBatch.from_pydict({"id": [1], "user": ["u"], "ts": [150]})
    roles = ConversionColumns(conversion_id="id", user_id="user", timestamp="ts")
    assert _run(batch, roles).rows.to_pylist()[0]["value"] == 1.0


def test_timestamps_are_in_nanoseconds():
    moment = datetime.datetime(1970, 1, 1, 0, 2, 30, 250)
    batch = _clicks(ts=pa.array([moment], pa.timestamp("us")))
    given = TimeFormat(1)
    found = normalise(batch, CLICKS, {}, TimeBounds(0, 10**12), given, "f")
    assert (found.rows["timestamp"].to_pylist(), found.zoned, found.zoneless) == ([150_000_250_000], False, True)
    seconds = normalise(_clicks(ts=pa.array([150])), CLICKS, {}, TimeBounds(0, 10**12), given, "f")
    assert (seconds.rows["timestamp"].to_pylist(), seconds.zoneless) == ([150_000_000_000], False)


def _one_column(name, values, **features):
    rows = len(values)
    columns = {"id": list(range(rows)), "user": ["u"] * rows, "ts": [5] * rows, name: values}
    batch = pa.RecordBatch.from_arrays(
        [v if isinstance(v, pa.Array) else pa.array(v) for v in columns.values()], list(columns)
    )
    roles = ClickColumns(click_id="id", user_id="user", timestamp="ts")
    return normalise(batch, roles, features, TimeBounds(0, 100), TimeFormat(NANOSECONDS), "f.parquet")


def test_numbers_that_do_not_fit_and_nan_are_missing():
    big = _one_column("n", pa.array([1, 2**63], pa.uint64()), n="int64")
    assert big.rows["feature/n"].to_pylist() == [1, None]
    assert big.missing == {("n", "feature is not a whole number"): 1}
    gaps = _one_column("n", pa.array([1.0, float("nan"), 1.5]), n="int64")
    assert gaps.rows["feature/n"].to_pylist() == [1, None, None]
    assert gaps.missing == {("n", "feature is not a whole number"): 1}
    infinite = _one_column("n", ["1e400", "1", "", "-inf"], n="float32")
    assert infinite.rows["feature/n"].to_pylist() == [None, 1.0, None, None]
    assert infinite.missing == {("n", "feature is not a number"): 2}


def test_parts_of_a_role_do_not_run_together():
    batch = pa.record_batch(
        [pa.array(["x:y", "x"]), pa.array(["z", "y:z"]), pa.array([1, 2]), pa.array(["u", "u"]), pa.array([5, 5])],
        ["a", "b", "id", "user", "ts"],
    )
    roles = ClickColumns(click_id="id", user_id="user", timestamp="ts", match_key=["a", "b"])
    keys = normalise(batch, roles, {}, TimeBounds(0, 100), TimeFormat(NANOSECONDS), "f").rows["match_key"].to_pylist()
    assert keys[0] != keys[1]


LISTS = [[0.5, -1.0], None, [], [None, float("nan"), 0.25]]
CANONICAL = [[0.5, -1.0], [], [], [None, None, 0.25]]  # NaN as None


@pytest.mark.parametrize(
    "column",
    [
        pa.array(LISTS, pa.list_(pa.float64())),
        pa.array(LISTS, pa.large_list(pa.float32())),
        pa.array([["0.5", "-1"], None, [], ["", "nan", ".25"]]),
        pa.array(["0.5|-1", None, "", "|nan|.25"]),
        pa.array([[9.0], *LISTS], pa.list_(pa.float64())).slice(1),
    ],
    ids=str,
)
def test_lists_of_numbers(column):
    found = _one_column("near", column, near="list of float32")
    lists = found.rows["feature/near"]
    assert found.reasons == []
    assert lists.type == pa.list_(pa.float32())
    assert [[None if v != v else v for v in row] for row in lists.to_pylist()] == CANONICAL


def test_lists_of_one_length_and_none_at_all():
    fixed = pa.array([[1, 0], [0, -1]], pa.list_(pa.int64(), 2))
    assert _one_column("near", fixed, near="list of float32").rows["feature/near"].to_pylist() == [[1, 0], [0, -1]]
    nulls = pa.nulls(2)
    assert _one_column("near", nulls, near="list of float32").rows["feature/near"].to_pylist() == [[], []]


def test_lists_that_are_none():
    found = _one_column("near", ["0.5|x", "0.5", "1e99"], near="list of float32")
    assert found.missing == {("near", "feature is not a list of numbers"): 2}
    numbers = [[None if n != n else n for n in row] for row in found.rows["feature/near"].to_pylist()]
    assert numbers == [[0.5, None], [0.5], [None]]
    with pytest.raises(MalTfError, match=r"'near'.*expected lists of numbers, or numbers joined by \|, found double"):
        _one_column("near", [0.5], near="list of float32")
    with pytest.raises(MalTfError, match=r"'near'.*expected numbers, found date32\[day\]"):
        _one_column("near", [[datetime.date(2024, 1, 1)]], near="list of float32")
