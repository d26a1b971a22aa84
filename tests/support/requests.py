"""Requests to each signature of the small model's export."""

import numpy as np
import pyarrow as pa

from features.example import encode, to_lists
from features.keras2 import tf

BATCH = pa.record_batch(
    [pa.array(["a", None, "never seen"]), pa.array([["b", "a"], [], None], pa.list_(pa.string()))], ["item", "seen"]
)


RAW = {
    "item": np.array([b"a", b"", b"never seen"], object),
    "seen": np.array([[b"b", b"a"], [b"", b""], [b"", b""]], object),
}


INPUTS = {
    "serving_default": {"examples": np.array(encode(to_lists(BATCH)), object)},
    "predict_raw": RAW,
    "predict_candidates": RAW | {"seen": RAW["seen"][:1]},
}


ITEM = tf.constant([2, 0, 1])


SEEN = tf.constant([[3, 2, 0], [0, 0, 0], [0, 0, 0]])
