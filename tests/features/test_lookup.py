import zlib

import numpy as np
import pyarrow as pa
import pytest

from features.example import encode, to_lists
from features.keras2 import keras, tf
from features.lookup import HASHED, lookup_model, table_sizes
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


HASHED_SPEC = FeatureSpec(
    features=[
        FEATURES[0] | {"hash_lookups": 2},
        FEATURES[1] | {"hash_lookups": 1},
        *FEATURES[2:],
    ],
    vocabulary={"hash_buckets": 1000},
)


def siphash(key: tuple[int, int], text: bytes) -> int:
    """SipHash-2-4 as in its paper (Aumasson and Bernstein, 2012)."""
    mask = 2**64 - 1
    initial = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    state = [word ^ key[place % 2] for place, word in enumerate(initial)]

    def left(value, bits):
        return (value << bits | value >> (64 - bits)) & mask

    def rounds(count):
        a, b, c, d = state
        for _ in range(count):
            a, c = (a + b) & mask, (c + d) & mask
            b, d = left(b, 13) ^ a, left(d, 16) ^ c
            a, c = (left(a, 32) + d) & mask, (c + b) & mask
            d, b = left(d, 21) ^ a, left(b, 17) ^ c
            c = left(c, 32)
        state[:] = a, b, c, d

    padded = text + bytes(7 - len(text) % 8) + bytes([len(text) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        state[3] ^= word
        rounds(2)
        state[0] ^= word
    state[2] ^= 0xFF
    rounds(4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def hashed_rows(feature, token, lookups):
    return [1 + siphash((zlib.crc32(feature), number), token) % 999 for number in range(lookups)]


def test_hashed_rows_are_siphashes_by_feature_and_lookup():
    assert siphash((0x0706050403020100, 0x0F0E0D0C0B0A0908), bytes(range(15))) == 0xA129CA6149BE45E5  # the paper's
    model = lookup_model(HASHED_SPEC, {"price": ["0.0", "2.5"]})
    rows, _ = _rows(model, ROWS)
    a, b, zzz, x = (hashed_rows(b"shop", token, 2) for token in (b"a", b"b", b"zzz", b"x"))
    assert (a, b) == ([298, 831], [201, 736])  # They stay: later models start from the weights of earlier ones.
    assert rows["shop"].tolist() == [a, [0, 0], zzz, b]
    assert rows["shops"].tolist() == [[b, a, x], [[0, 0]] * 3, [[0, 0]] * 3, [a, [0, 0], [0, 0]]]
    five, seven, one, many = (hashed_rows(b"item", token, 1) for token in (b"5", b"-7", b"1", b"99"))
    assert rows["item"].tolist() == [seven, many, [0], five]
    assert rows["items"].tolist() == [[five, [0]], [[0], [0]], [one, seven], [[0], [0]]]
    assert rows["price"].tolist() == GOLDEN["price"]
    assert {rows[name].dtype for name in ("shop", "shops", "item", "items")} == {np.dtype(np.int32)}


def test_hashed_features_share_one_table():
    assert table_sizes(HASHED_SPEC, {"price": ["0.0", "2.5"]}) == {"price": 4, HASHED: 1000}


@pytest.mark.parametrize("kept", ["saved_model", "keras"])
def test_hashing_is_kept(kept, tmp_path):
    model = lookup_model(HASHED_SPEC, {"price": ["0.0", "2.5"]})
    expected, _ = _rows(model, ROWS)
    if kept == "keras":
        model.save(tmp_path / "lookup.keras")
        loaded = keras.models.load_model(tmp_path / "lookup.keras")
    else:
        tf.saved_model.save(model, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
    found, _ = _rows(loaded, ROWS)
    for name, rows in expected.items():
        np.testing.assert_array_equal(found[name], rows)
    empty, _ = _rows(loaded, ROWS.slice(0, 0))
    assert (empty["shop"].shape, empty["shops"].shape) == ((0, 2), (0, 3, 2))
