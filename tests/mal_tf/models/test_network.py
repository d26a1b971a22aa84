"""What a click's vector is made of."""

import numpy as np
import pytest

from features.keras2 import keras, tf
from features.lookup import HASHED
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import CLICK

SPEC = FeatureSpec(
    features=[
        {"type": "categorical", "name": "item", "hash_lookups": 2},
        {"type": "categorical", "name": "shop"},
        {"type": "categorical", "name": "user", "hash_lookups": 1, "embedding_dim": 2},
        {"type": "history", "name": "seen", "of": "item", "length": 3},
    ],
    vocabulary={"hash_buckets": 6},
)
SIZES = {HASHED: 6, "shop": 3}
TABLE = np.arange(12, dtype="f").reshape(6, 2)
ROWS = {
    "item": tf.constant([[3, 1], [2, 2]]),
    "shop": tf.constant([1, 2]),
    "user": tf.constant([[5], [3]]),
    "seen": tf.constant([[[3, 1], [0, 0], [0, 0]], [[4, 2], [2, 2], [0, 0]]]),
}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    config = ModelConfig(primary="last", embedding_dim=4)
    return factory.build("base", SPEC, SIZES, config, ["last"])


def test_hashed_features_and_their_histories_look_up_in_one_table(network):
    two, four = sorted(network.stacks, key=lambda stack: stack.width)
    assert (two.sizes, four.sizes) == ({HASHED: 6}, {"shop": 3})
    two.embeddings.assign(TABLE)
    names = ("item", "user", "seen")
    embedded = keras.Model(
        network.model.input, {name: network.model.get_layer(f"side_by_side_{name}").output for name in names}
    )
    found = {name: value.numpy().tolist() for name, value in embedded(ROWS).items()}
    assert found == {
        "item": [[6, 7, 2, 3], [4, 5, 4, 5]],
        "user": [[10, 11], [6, 7]],
        "seen": [[[6, 7, 2, 3], [0, 1, 0, 1], [0, 1, 0, 1]], [[8, 9, 4, 5], [4, 5, 4, 5], [0, 1, 0, 1]]],
    }
    assert network.model.get_layer(CLICK).output.shape.as_list() == [None, 4 + 4 + 2 + 4]


def test_padding_of_a_hashed_history_is_not_attended_to(network):
    (table,) = (stack for stack in network.stacks if HASHED in stack.sizes)
    answers = []
    for missing in (0.0, 100.0):
        table.embeddings[0].assign([missing, missing])
        answers.append(network.model(ROWS)["last"].numpy())
    np.testing.assert_array_equal(*answers)
