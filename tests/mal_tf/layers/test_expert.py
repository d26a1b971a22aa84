import numpy as np

from features.keras2 import tf
from mal_tf.layers.expert import Expert

X = tf.constant([[1.0, 2.0], [3.0, -2.0]])
KERNEL = np.array([[1.0], [1.0]], "f")


def test_plain_by_hand():
    layer = Expert([1])
    layer(X)
    layer.set_weights([KERNEL, np.array([-2], "f")])
    np.testing.assert_allclose(layer(X), [[1.0], [0.0]])


def test_normalized_by_hand():
    layer = Expert([1], normalized=True)
    layer(X)
    # W x + b = 1 and -1: mean 0, variance 1, so BatchNorm leaves them as they are but for its epsilon.
    layer.set_weights([KERNEL, np.array([-2], "f"), *layer.get_weights()[2:]])
    found = layer(X, training=True).numpy()
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1))], [-1 / (1 + np.exp(1))]], rtol=1e-3)


def test_senet_comes_first():
    layer = Expert([1], senet_width=2)
    layer(X)
    layer.set_weights([KERNEL * 0, KERNEL.T * 0, KERNEL, np.zeros(1, "f")])  # A gate of zeros halves its input.
    np.testing.assert_allclose(layer(X), [[1.5], [0.5]])


def test_without_layers_nothing_happens():
    np.testing.assert_array_equal(Expert([])(X), X)


def test_moments_are_there_after_a_hundred_steps():
    layer = Expert([1], normalized=True)
    layer(X)
    layer.set_weights([KERNEL, np.array([50], "f"), *layer.get_weights()[2:]])
    for _ in range(100):
        trained = layer(X, training=True)
    np.testing.assert_allclose(layer(X, training=False), trained, atol=0.01)
