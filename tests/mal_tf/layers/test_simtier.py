import numpy as np

from features.keras2 import tf
from mal_tf.layers.simtier import SimTier


def test_by_hand():
    layer = SimTier(tiers=4)
    # Tiers: [-1, -1/2), [-1/2, 0), [0, 1/2), [1/2, 1]: -1 and -0.6 | -1e-7 | 0 and -0.0 and 0.4 | 1; NaN nowhere.
    scores = tf.constant([[-1.0, -0.6, -1e-7, 0.0, -0.0, 0.4, 1.0, np.nan]])
    layer(scores)
    layer.set_weights([np.array([1, 10, 100, 1000], "f")])
    np.testing.assert_allclose(layer(scores), [[np.log2(3), 10, 200, 1000]], rtol=1e-6)


def test_no_history_and_no_click():
    layer = SimTier(tiers=4)
    np.testing.assert_array_equal(layer(tf.fill([2, 3], np.nan)), 0)
    assert layer(tf.zeros([0, 3])).shape == (0, 4)
