"""A small model, its requests, and what it should answer."""

import numpy as np
import pyarrow as pa
import pytest

from features.example import encode, to_lists
from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.serving.export import ServedModel, export
from tests.mal_tf.models.test_models import SPEC, VOCABULARIES, build

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


@pytest.fixture(scope="package")
def network():
    return build()


@pytest.fixture(scope="package")
def served(network):
    return ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), network, user_features=["seen"])


@pytest.fixture(scope="package")
def cases(network):
    """By signature, its inputs and the CVR that the model as it was trained gives."""
    rows = {"serving_default": SEEN, "predict_raw": SEEN, "predict_candidates": tf.repeat(SEEN[:1], 3, axis=0)}
    expected = {name: tf.sigmoid(network.model({"item": ITEM, "seen": seen})["last"]) for name, seen in rows.items()}
    return {name: (INPUTS[name], cvr.numpy()) for name, cvr in expected.items()}


@pytest.fixture(scope="package")
def version(served, tmp_path_factory):
    """Directory of the export, with a warm-up request of two clicks per signature."""
    requests = {name: {key: values[:2] for key, values in inputs.items()} for name, inputs in INPUTS.items()}
    return export(served, str(tmp_path_factory.mktemp("export") / "mal"), requests, lambda _: 0.0)[0]
