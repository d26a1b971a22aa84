import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tfx_bsl.coders import example_coder

from features.example import encode, to_lists
from features.keras2 import tf

INT = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(width=32, allow_nan=False)
TEXT = st.text(max_size=200)
ROW = st.fixed_dictionaries(
    {
        "i": st.none() | INT,
        "f": st.none() | FLOAT,
        "s": st.none() | TEXT,
        "ints": st.none() | st.lists(INT, max_size=4),
        "texts": st.none() | st.lists(TEXT, max_size=4),
        "floats": st.none() | st.lists(FLOAT, max_size=4),
    }
)
SCHEMA = pa.schema(
    [
        ("s", pa.string()),
        ("i", pa.int64()),
        ("f", pa.float32()),
        ("ints", pa.list_(pa.int64())),
        ("texts", pa.list_(pa.string())),
        ("floats", pa.list_(pa.float32())),
    ]
)


def without_missing(serialized: bytes) -> tf.train.Example:
    example = tf.train.Example.FromString(serialized)
    for name in [name for name, feature in example.features.feature.items() if feature.WhichOneof("kind") is None]:
        del example.features.feature[name]
    return example


@given(st.lists(ROW, max_size=6))
def test_same_examples_as_tfx_bsl(rows):
    batch = to_lists(pa.RecordBatch.from_pylist(rows, SCHEMA))
    found = encode(batch)
    expected = [without_missing(e) for e in example_coder.RecordBatchToExamplesEncoder().encode(batch)]
    for serialized, row, example in zip(found, rows, expected, strict=True):
        parsed = tf.train.Example.FromString(serialized)
        assert {n: v for n, v in row.items() if v is not None} == {
            name: _value(name, feature) for name, feature in parsed.features.feature.items()
        }
        if not any(value == [] for value in row.values()):  # tfx-bsl gives an empty list no kind
            assert parsed == example


def _value(name, feature):
    values = [v.decode() if isinstance(v, bytes) else v for v in getattr(feature, feature.WhichOneof("kind")).value]
    return values if name in ("ints", "texts", "floats") else values[0]


def test_nan_is_missing_and_slices_encode_as_their_rows():
    batch = pa.record_batch([pa.array([1.0, np.nan, 2.0], pa.float32()), pa.array(["a", "bb", None])], ["f", "s"])
    whole, tail = encode(to_lists(batch)), encode(to_lists(batch.slice(1)))
    assert whole[1:] == tail
    assert list(tf.train.Example.FromString(whole[1]).features.feature) == ["s"]


def test_bytes_by_hand():
    batch = pa.record_batch([pa.array([300]), pa.array(["xy"])], ["n", "a"])
    a = b"\x0a\x01a\x12\x06\x0a\x04\x0a\x02xy"  # key "a", Feature of 6 bytes: bytes_list of 4 bytes: "xy"
    n = b"\x0a\x01n\x12\x06\x1a\x04\x0a\x02\xac\x02"  # key "n", int64_list, packed varint of 300
    features = b"\x0a" + bytes([len(a)]) + a + b"\x0a" + bytes([len(n)]) + n
    assert encode(to_lists(batch)) == [b"\x0a" + bytes([len(features)]) + features]
