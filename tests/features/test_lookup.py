import numpy as np
import pyarrow as pa
import pytest

from features.example import encode, to_lists
from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.parsing import parse_features
from features.spec import FeatureSpec

FEATURES = [
    {"type": "categorical", "name": "shop"},
    {"type": "categorical", "name": "item", "dtype": "int64"},
    {"type": "numeric", "name": "price"},
    {"type": "history", "name": "shops", "of": "shop", "length": 3},
    {"type": "history", "name": "items", "of": "item", "length": 2},
    {"type": "similarity", "name": "near", "length": 2},
]
SPEC = FeatureSpec(features=FEATURES)
VOCABULARIES = {"shop": ["b", "a"], "item": ["5", "-7"], "price": ["0.0", "2.5"]}

ROWS = pa.RecordBatch.from_pydict(
    {
        "shop": pa.array(["a", None, "zzz", "b"]),
        "item": pa.array([-7, 99, None, 5]),
        "price": pa.array([2.5, float("nan"), None, -1.0], pa.float32()),
        "shops": pa.array([["b", "a", "x", "a"], [], None, ["a"]], pa.list_(pa.string())),
        "items": pa.array([[5], None, [1, -7, 5], []], pa.list_(pa.int64())),
        "near": pa.array([[0.5], None, [0.25, float("nan")], [1, -1, 0.5]], pa.list_(pa.float32())),
        "label_last": pa.array([1, 0, 0.5, 0], pa.float32()),
    }
)
GOLDEN = {
    "shop": [3, 0, 1, 2],
    "item": [3, 1, 0, 2],
    "price": [3, 0, 0, 1],
    "shops": [[2, 3, 1], [0, 0, 0], [0, 0, 0], [3, 0, 0]],
    "items": [[2, 0], [0, 0], [1, 3], [0, 0]],
    "near": [[0.5, None], [None, None], [0.25, None], [1, -1]],  # NaN as None
}


@pytest.fixture(scope="module")
def model():
    return lookup_model(SPEC, VOCABULARIES)


def _rows(model, batch):
    parsed = parse_features(tf.constant(encode(to_lists(batch)), tf.string), SPEC, [("label_last", "float32")])
    label = parsed.pop("label_last")
    return {name: rows.numpy() for name, rows in model(parsed).items()}, label.numpy()


def _lists(rows):
    as_none = rows["near"].astype(object)
    as_none[np.isnan(rows["near"])] = None
    return {name: found.tolist() for name, found in (rows | {"near": as_none}).items()}


def test_encode_parse_lookup_golden(model):
    rows, label = _rows(model, ROWS)
    assert _lists(rows) == GOLDEN
    assert label.tolist() == [1, 0, 0.5, 0]
    assert rows.pop("near").dtype == np.float32
    assert {r.dtype for r in rows.values()} == {np.dtype(np.int32)}


def test_one_click_at_a_time_is_the_same(model):
    for i in range(ROWS.num_rows):
        rows, _ = _rows(model, ROWS.slice(i, 1))
        assert _lists(rows) == {name: [g[i]] for name, g in GOLDEN.items()}


def test_empty_batch(model):
    rows, _ = _rows(model, ROWS.slice(0, 0))
    assert {name: r.shape for name, r in rows.items()} == {
        "shop": (0,),
        "item": (0,),
        "price": (0,),
        "shops": (0, 3),
        "items": (0, 2),
        "near": (0, 2),
    }


def test_rows_fit_their_tables():
    assert table_sizes(SPEC, VOCABULARIES) == {"shop": 4, "item": 4, "price": 4}


def test_more_oov_buckets_shift_the_vocabulary():
    spec = FeatureSpec(features=FEATURES[:1], vocabulary={"oov_buckets": 3})
    rows = lookup_model(spec, VOCABULARIES)({"shop": tf.constant(["", "b", "a", *map(str, range(50))])})["shop"].numpy()
    assert rows[:3].tolist() == [0, 4, 5]
    assert set(rows[3:]) == {1, 2, 3}


def test_saved_model_answers_the_same(model, tmp_path):
    tf.saved_model.save(model, str(tmp_path))
    rows, _ = _rows(tf.saved_model.load(str(tmp_path)), ROWS)
    assert _lists(rows) == GOLDEN


def test_keras_file_answers_the_same(model, tmp_path):
    model.save(tmp_path / "lookup.keras")
    rows, _ = _rows(keras.models.load_model(tmp_path / "lookup.keras"), ROWS)
    assert _lists(rows) == GOLDEN


def test_token_that_keras_keeps_for_itself():
    spec = FeatureSpec(features=FEATURES[:1])
    rows = lookup_model(spec, {"shop": ["[UNK]", "a"]})({"shop": tf.constant(["", "zzz", "[UNK]", "a"])})["shop"]
    assert rows.numpy().tolist() == [0, 1, 2, 3]


def test_feature_whose_vocabulary_is_empty():
    spec = FeatureSpec(features=FEATURES[:1])
    rows = lookup_model(spec, {"shop": []})({"shop": tf.constant(["", "a"])})["shop"]
    assert rows.numpy().tolist() == [0, 1]
