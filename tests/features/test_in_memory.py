"""Tables in memory: columns get the types of their features, or an error says which does not fit."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mal_tf
from features.errors import BadInput, MalTfError
from features.in_memory import arrow_table, typed_columns

FEATURES = mal_tf.FeatureSpec(
    features=[
        {"type": "categorical", "name": "place"},
        {"type": "categorical", "name": "item", "dtype": "int64"},
        {"type": "numeric", "name": "price"},
        {"type": "history", "name": "places", "of": "place", "length": 3},
        {"type": "history", "name": "items", "of": "item", "length": 3},
        {"type": "similarity", "name": "alike", "length": 2},
    ]
)


@pytest.mark.parametrize("lists", [[[], []], [None, None], [[], None]])
@pytest.mark.parametrize("as_arrow", [False, True])
def test_columns_without_any_value_are_missing_values(lists, as_arrow):
    clicks = pd.DataFrame({f.name: lists if f.sequence else [None, None] for f in FEATURES.features})
    raw = mal_tf.raw_features(pa.Table.from_pandas(clicks) if as_arrow else clicks, FEATURES)
    assert (raw["place"].tolist(), raw["item"].tolist()) == ([b"", b""], [-(2**63)] * 2)
    assert np.isnan(raw["price"]).all()
    assert {raw[name].shape for name in ("places", "items", "alike")} == {(2, 0)}
    assert mal_tf.vocabularies(FEATURES, clicks) == {"place": [], "item": [], "price": []}


def test_values_are_converted_to_the_type_of_their_feature():
    clicks = pd.DataFrame(
        {
            "place": pd.Categorical(["top", "side"]),
            "item": [7.0, None],
            "price": [1, 2],
            "places": [["top"], []],
            "items": [[1, 2], []],
            "alike": [[0.5], [0.25]],
        }
    )
    raw = mal_tf.raw_features(clicks, FEATURES)
    assert (raw["place"].tolist(), raw["item"].tolist()) == ([b"top", b"side"], [7, -(2**63)])
    assert (raw["price"].tolist(), raw["items"].tolist()) == ([1.0, 2.0], [[1, 2], [-(2**63)] * 2])


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["a"], pa.int64(), "column 'a': expected int64, found string"),
        ([1.5], pa.int64(), "expected int64, found double"),
        ([1.5], pa.string(), "expected string, found double .1.0 and 1 would be different tokens.; convert the column"),
        ([3], pa.list_(pa.float32()), "found int64"),
    ],
)
def test_a_value_of_another_type_is_an_error(values, kind, message):
    with pytest.raises(BadInput, match=message):
        typed_columns(pa.table({"a": values}), {"a": kind})


def test_what_is_no_table_or_lacks_a_column():
    with pytest.raises(BadInput, match="sales: expected a pandas data frame or an Arrow table, found dict"):
        arrow_table({"a": [1]}, name="sales")
    with pytest.raises(BadInput, match="clicks: column 'place' is missing; found columns: a"):
        mal_tf.vocabularies(FEATURES, pd.DataFrame({"a": [1]}))


def test_a_feature_by_another_name():
    with pytest.raises(MalTfError, match=r"unknown feature 'palce'; did you mean 'place'\? Known: place, item"):
        FEATURES.feature("palce")
    with pytest.raises(MalTfError, match="unknown scalar feature 'items'"):
        FEATURES.scalar("items")


@pytest.mark.parametrize(
    "of", [mal_tf.lookup_model, lambda *a: mal_tf.build(*a, mal_tf.ModelConfig(primary="l"), ["l"])]
)
def test_a_missing_vocabulary(of):
    with pytest.raises(MalTfError, match="the vocabulary of feature 'place' is missing; found: none"):
        of(FEATURES, {})


@pytest.mark.parametrize("mixed", [["a", 1], [1, "a"], [b"a", 1.5]])
def test_a_data_frame_with_values_of_several_types_in_a_column_is_refused_by_name(mixed):
    with pytest.raises(BadInput, match="conversions: expected values of one type in a column; .*place"):
        arrow_table(pd.DataFrame({"place": mixed}), name="conversions")


@pytest.mark.parametrize("as_arrow", [False, True])
def test_two_columns_of_one_name_are_refused_by_name(as_arrow):
    names = ["click_id", "user_id", "user_id"]
    rows = pa.table([[1], ["a"], ["b"]], names) if as_arrow else pd.DataFrame([[1, "a", "b"]], columns=names)
    with pytest.raises(BadInput, match="clicks: column 'user_id' occurs more than once"):
        arrow_table(rows)
