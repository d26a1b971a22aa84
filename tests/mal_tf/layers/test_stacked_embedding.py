import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.layers.stacked_embedding import StackedEmbedding

SIZES = {"item": 3, "shop": 2}


def made(sizes, width):
    keras.utils.set_random_seed(4)
    layer = StackedEmbedding(sizes, width)
    layer({name: [tf.constant([0])] for name in sizes})
    return layer


def test_by_hand():
    layer = made(SIZES, 1)
    layer.set_weights([np.array([[0], [1], [2], [10], [11]], "f")])
    rows = {"shop": [tf.constant([1, 0])], "item": [tf.constant([2, 1]), tf.constant([[0, 2, 2], [1, 0, 0]])]}
    found = layer(rows)
    assert [value.numpy().tolist() for value in found["shop"]] == [[[11], [10]]]
    scalar, history = (value.numpy() for value in found["item"])
    assert scalar.tolist() == [[2], [1]]
    assert history[..., 0].tolist() == [[0, 2, 2], [1, 0, 0]]
    assert (layer.row_range("item"), layer.row_range("shop"), layer.ends) == (slice(0, 3), slice(3, 5), [3, 5])


def test_initial_values_are_those_of_keras():
    (values,) = made({"item": 1000, "shop": 1000}, 4).get_weights()
    for part in (values[:1000], values[1000:]):
        assert 0.049 < np.abs(part).max() <= 0.05 and abs(part.mean()) < 0.002
    np.testing.assert_array_equal(made({"item": 1000, "shop": 1000}, 4).get_weights()[0], values)


def test_half_precision_after_the_lookup():
    layer = StackedEmbedding(SIZES, 2, dtype="mixed_bfloat16")
    (found,) = layer({name: [tf.constant([0])] for name in SIZES})["item"]
    assert (found.dtype, layer.embeddings.dtype) == (tf.bfloat16, tf.float32)


def test_no_click():
    found = made(SIZES, 2)({"item": [tf.zeros([0], tf.int32), tf.zeros([0, 3], tf.int32)], "shop": []})
    assert [value.shape.as_list() for value in found["item"]] == [[0, 2], [0, 3, 2]]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adagrad(0.1),
        lambda: keras.optimizers.Adam(0.1, epsilon=1e-8),
        lambda: keras.optimizers.SGD(0.1),
    ],
)
def test_trains_as_a_table_per_feature(optimizer):
    """Three steps; rows that come twice, and rows that a step does not touch."""
    stack, tables = made(SIZES, 2), [keras.layers.Embedding(rows, 2) for rows in SIZES.values()]
    for table, name in zip(tables, SIZES, strict=True):
        table.build(None)
        table.set_weights([stack.get_weights()[0][stack.row_range(name)]])
    one, several = optimizer(), optimizer()
    for item, shop in [([0, 2, 2], [1, 1, 1]), ([1, 0, 0], [0, 1, 1]), ([1, 1, 1], [0, 0, 0])]:
        rows = {"item": [tf.constant(item), tf.constant([item])], "shop": [tf.constant(shop)]}
        with tf.GradientTape() as tape:
            found = stack(rows)
            loss = tf.reduce_sum(found["item"][0] * found["item"][1][0] * (found["shop"][0] + 1))
        one.minimize(loss, [stack.embeddings], tape)
        with tf.GradientTape() as tape:
            scalar, history = tables[0](rows["item"][0]), tables[0](rows["item"][1])
            expected = tf.reduce_sum(scalar * history[0] * (tables[1](rows["shop"][0]) + 1))
        several.minimize(expected, [table.embeddings for table in tables], tape)
        assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    for table, name in zip(tables, SIZES, strict=True):
        values = stack.get_weights()[0][stack.row_range(name)]
        np.testing.assert_allclose(values, table.get_weights()[0], rtol=1e-6, atol=1e-7)
