"""Export from memory: of a network from a training loop of one's own, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import mal_tf
from features.errors import MalTfError
from features.keras2 import tf

FEATURES = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
VOCABULARIES = {"place": ["top", "side"]}
CLICKS = pd.DataFrame({"place": ["top", "side", None]})
OWN = {"features": FEATURES, "vocabularies": VOCABULARIES}


@pytest.fixture(scope="module")
def network():
    return mal_tf.build(FEATURES, VOCABULARIES, mal_tf.ModelConfig(primary="last"), ["last", "linear"])


def test_a_network_of_ones_own_training_is_exported_and_checked(network, tmp_path):
    version = mal_tf.export(network, str(tmp_path / "mine"), CLICKS, **OWN)
    served = tf.saved_model.load(version).signatures["predict_raw"]
    found = served(place=tf.constant(["top", "side", ""]))["cvr"]
    rows = mal_tf.lookup_model(FEATURES, VOCABULARIES)({"place": tf.constant(["top", "side", ""])})
    np.testing.assert_allclose(found, tf.sigmoid(network.model(rows)["last"]), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "clicks", "options", "message"),
    [
        (
            lambda network: network.model,
            CLICKS,
            OWN,
            "expected what `mal_tf.fit` or `mal_tf.build` returned, found Functional",
        ),
        (lambda network: network, CLICKS, {}, "give its `features` and `vocabularies` too"),
        (lambda network: network, CLICKS, OWN | {"vocabularies": {}}, "the vocabulary of feature 'place' is missing"),
        (
            lambda network: network,
            CLICKS[:0],
            OWN,
            "expected some to check the export with, found a table without rows",
        ),
        (lambda network: network, CLICKS[[]], OWN, "column 'place' is missing"),
    ],
)
def test_refuses(network, tmp_path, model, clicks, options, message):
    with pytest.raises(MalTfError, match=message):
        mal_tf.export(model(network), str(tmp_path), clicks, **options)
    assert not list(tmp_path.iterdir())
