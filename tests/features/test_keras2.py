"""What autograph converts: layers of extensions, whoever calls them, and nothing of ours."""

import pytest

from features.keras2 import keras, tf


class Branch(keras.layers.Layer):
    """A layer with control flow that depends on a tensor."""

    def call(self, inputs):
        if tf.reduce_sum(inputs) > 0:
            return 2 * inputs
        return -inputs


def traced(function):
    """A graph function that calls a function as if it were of ours; what `tf.function` is given itself is always converted."""
    function.__module__ = "features.keras2"
    return tf.function(lambda values: function(values), input_signature=[tf.TensorSpec([None, 2], tf.float32)])


def test_layers_of_extensions_are_converted_within_functions_that_are_not():
    inputs = keras.Input([2])
    model = keras.Model(inputs, Branch()(inputs))

    def ours(values):
        return model(values)

    served = traced(ours)
    assert served(tf.constant([[1.0, 2.0]])).numpy().tolist() == [[2.0, 4.0]]
    assert served(tf.constant([[-1.0, -2.0]])).numpy().tolist() == [[1.0, 2.0]]


def test_functions_of_ours_are_not_converted():
    def ours(values):
        if tf.reduce_sum(values) > 0:
            return values
        return -values

    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        traced(ours)(tf.constant([[1.0, 2.0]]))
