import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.training.sgd import SGD


@pytest.mark.parametrize("dense", [True, False])
def test_two_steps_by_hand(dense):
    variable, optimizer = tf.Variable(tf.ones([3, 1])), SGD(0.5)
    optimizer.build([variable])
    gradient = tf.IndexedSlices(tf.constant([[1.0], [2.0], [3.0]]), tf.constant([0, 2, 2]), tf.constant([3, 1]))
    for _ in range(2):
        optimizer.apply_gradients([(tf.convert_to_tensor(gradient) if dense else gradient, variable)])
    np.testing.assert_array_equal(variable, [[0.0], [1.0], [-4.0]])


def test_keeps_nothing_per_weight():
    optimizer = SGD(0.5)
    optimizer.build([tf.Variable(tf.ones([3, 1]))])
    assert not any(variable.shape.rank for variable in optimizer.variables)


def test_config_makes_the_same_optimizer():
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(SGD(0.25)))
    assert copy.get_config() == SGD(0.25).get_config()
