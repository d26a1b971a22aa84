import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.layers.multi_head import MultiHeadTargetAttention

QUERY = tf.constant([[1.0, 1.0]])
KEYS = tf.constant([[[0.0, np.log(2)], [np.log(3), 0.0], [9.0, 9.0]]])


def made(heads):
    layer, one, none = MultiHeadTargetAttention(heads), np.eye(2, dtype="f"), np.zeros(2, "f")
    layer((QUERY, KEYS, tf.ones([1, 3], tf.bool)))
    layer.set_weights([one, none, one, one, none, one, np.array([0.5, 0], "f")])
    return layer


def test_by_hand():
    # Width 1 per head. First head: weights [1, 3] / 4 of [0, ln 3]; second: [2, 1] / 3 of [ln 2, 0]; then the bias.
    found = made(2)((QUERY, KEYS, tf.constant([[True, True, False]])))
    np.testing.assert_allclose(found, [[0.75 * np.log(3) + 0.5, np.log(2) * 2 / 3]], rtol=1e-6)


def test_scale_is_the_root_of_a_heads_width():
    keys = tf.constant([[[0.0, 0.0], [np.log(2) * 2**0.5, 0.0], [9.0, 9.0]]])
    found = made(1)((QUERY, keys, tf.constant([[True, True, False]])))
    np.testing.assert_allclose(found, [[np.log(2) * 2**0.5 * 2 / 3 + 0.5, 0]], rtol=1e-6)


def test_empty_history_gives_the_bias_and_an_empty_batch_nothing():
    layer = made(2)
    np.testing.assert_array_equal(layer((QUERY, KEYS, tf.zeros([1, 3], tf.bool))), [[0.5, 0]])
    assert layer((QUERY[:0], KEYS[:0], tf.zeros([0, 3], tf.bool))).shape == (0, 2)


def test_heads_must_divide_the_width():
    with pytest.raises(MalTfError, match="width 2 can't be split into 3 heads"):
        made(3)
