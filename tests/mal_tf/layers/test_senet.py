import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.layers.senet import SqueezeExcitation


def test_by_hand():
    layer = SqueezeExcitation(width=2, reduction=2)
    x = tf.constant([[1.0, 2.0, 3.0, -4.0]])
    layer(x)
    # m = [2, -1]; relu(2 * 1 - 1 * 1) = 1; s = sigmoid([ln 3, 0]) = [3/4, 1/2], for both chunks.
    layer.set_weights([np.array([[1.0], [1.0]], "f"), np.array([[np.log(3), 0.0]], "f")])
    np.testing.assert_allclose(layer(x), [[0.75, 1.0, 2.25, -2.0]], rtol=1e-6)


def test_needs_whole_chunks():
    with pytest.raises(MalTfError, match="multiple of 4 numbers, found 6"):
        SqueezeExcitation(width=4)(tf.zeros([1, 6]))
