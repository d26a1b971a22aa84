import numpy as np

from features.keras2 import tf
from mal_tf.layers.tower_fusion import TowerFusion


def test_by_hand():
    layer = TowerFusion()
    inputs = tf.constant([[1.0, -3.0]]), [tf.constant([[10.0]]), tf.constant([[2.0]])]
    layer(inputs)
    # First output: p_1 + 10 t_1's share + p_1 once more; the second stays below zero: -3 + 2 < 0.
    kernel = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.0], [0.0, 1.0]], "f")
    layer.set_weights([kernel, np.array([0.25, 0.0], "f")])
    np.testing.assert_allclose(layer(inputs), [[1 + 5 + 0.25 + 1, 0]])
