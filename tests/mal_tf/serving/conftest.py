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
ROWS = {"item": tf.constant([2, 0, 1]), "seen": tf.constant([[3, 2, 0], [0, 0, 0], [0, 0, 0]])}
INPUTS = {
    "serving_default": {"examples": np.array(encode(to_lists(BATCH)), object)},
    "predict_raw": {
        "item": np.array([b"a", b"", b"never seen"], object),
        "seen": np.array([[b"b", b"a"], [b"", b""], [b"", b""]], object),
    },
}


@pytest.fixture(scope="package")
def network():
    return build()


@pytest.fixture(scope="package")
def served(network):
    return ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), network)


@pytest.fixture(scope="package")
def expected(network):
    """CVR of the clicks in `INPUTS` by the model as it was trained."""
    return tf.sigmoid(network.model(ROWS)["last"]).numpy()


@pytest.fixture(scope="package")
def version(served, tmp_path_factory):
    """Directory of the export, with a warm-up request of two clicks per signature."""
    requests = {name: {key: values[:2] for key, values in inputs.items()} for name, inputs in INPUTS.items()}
    return export(served, str(tmp_path_factory.mktemp("export") / "mal"), requests, lambda _: 0.0)[0]
