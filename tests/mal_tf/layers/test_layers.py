import numpy as np

from features.keras2 import tf
from mal_tf.layers.attention import TargetAttention
from mal_tf.layers.tower import KnowledgeFusion


def test_attention_by_hand():
    layer = TargetAttention(units=())
    query, keys = tf.constant([[1.0, 2.0]]), tf.constant([[[3.0, 1.0], [5.0, 5.0]]])
    mask = tf.constant([[True, False]])
    layer((query, keys, mask))
    # The score is q + k + (q - k) + 10 (q * k), each summed over its two places: 3 + 4 - 1 + 10 * 5 = 56.
    kernel = np.array([1, 1, 1, 1, 1, 1, 10, 10], np.float32)[:, None]
    layer.set_weights([kernel, np.zeros(1, np.float32)])
    np.testing.assert_allclose(layer((query, keys, mask)), [[168.0, 56.0]])


def test_attention_ignores_padding_and_an_empty_history_gives_zero():
    layer, generator = TargetAttention(units=(4,)), np.random.default_rng(0)
    query, keys = generator.normal(size=(2, 3)).astype("f"), generator.normal(size=(2, 5, 3)).astype("f")
    mask = np.array([[True] * 3 + [False] * 2, [False] * 5])
    before = layer((query, keys, mask)).numpy()
    keys[:, 3:] = 99.0
    np.testing.assert_array_equal(layer((query, keys, mask)), before)
    np.testing.assert_array_equal(before[1], 0)


def test_many_queries_attend_over_one_history():
    layer, generator = TargetAttention(units=(4, 3)), np.random.default_rng(0)
    query, keys = generator.normal(size=(40, 2)).astype("f"), generator.normal(size=(1, 5, 2)).astype("f")
    mask = np.array([[True, True, False, True, False]])
    of_each = layer((query, np.repeat(keys, 40, axis=0), np.repeat(mask, 40, axis=0)))
    np.testing.assert_allclose(layer((query, keys, mask)), of_each, atol=1e-6)


def test_fusion_adds_a_linear_map_of_the_knowledge():
    layer = KnowledgeFusion(units=())
    primary, knowledge = tf.constant([[1.0, 2.0]]), tf.constant([[10.0]])
    layer((primary, knowledge))
    layer.set_weights([np.array([[1.0, -1.0]], "f"), np.array([0.5, 0.0], "f")])
    np.testing.assert_allclose(layer((primary, knowledge)), [[11.5, -8.0]])
