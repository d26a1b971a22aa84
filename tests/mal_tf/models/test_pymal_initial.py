import numpy as np

from features.keras2 import keras
from features.lookup import table_sizes
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from tests.support.models import SPEC, TARGETS


def made():
    keras.utils.set_random_seed(5)
    options = {"senet": False, "layer_norm": True, "tower_units": [8], "bottom_units": [16], "query": ["item"]}
    config = ModelConfig(name="natal", primary="last", compatibility="pymal", **options)
    vocabulary = {"item": [str(number) for number in range(500)]}
    return factory.build("natal", SPEC, table_sizes(SPEC, vocabulary), config, TARGETS).model


def test_distributions():
    model = made()
    table = model.get_layer("embedding_16").get_weights()[0]
    assert (abs(table.mean()) < 0.05, abs(table.std() - 1) < 0.05) == (True, True)
    kernel, bias = model.get_layer("last_tower_1").get_weights()
    for values in (kernel, bias):
        assert 0.6 / 4 < np.abs(values).max() <= 1 / 4  # 1 / sqrt(16)
    query, zero, *_, output, also_zero = model.get_layer("attention_seen").get_weights()
    assert 0.9 * (6 / 64) ** 0.5 < np.abs(query).max() <= (6 / 64) ** 0.5
    assert 0.9 / 4 < np.abs(output).max() <= 1 / 4
    assert not zero.any() and not also_zero.any()
    scale, shift = model.get_layer("layer_norm").get_weights()
    assert (scale == 1).all() and not shift.any()


def test_the_same_seed_gives_the_same_values():
    for first, second in zip(made().get_weights(), made().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
