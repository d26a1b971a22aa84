"""A small model, its requests, and what it should answer."""

import pytest

from features.keras2 import tf
from features.lookup import lookup_model
from mal_tf.serving.export import ServedModel, export
from tests.support.models import SPEC, VOCABULARIES, build
from tests.support.requests import INPUTS, ITEM, SEEN


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
