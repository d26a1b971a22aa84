"""DCN-v2's cross layer comes from tensorflow-recommenders: what `network.click` counts on."""

import numpy as np
import tensorflow_recommenders as tfrs

from features.keras2 import tf


def test_cross_by_hand():
    """x0 ∘ (W x + b) + x (arXiv 2008.13535), W as Keras keeps it: columns are outputs."""
    cross = tfrs.layers.dcn.Cross()
    x0, x = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, -1.0]])
    cross(x0, x)
    cross.set_weights([np.array([[1.0, 0.5], [2.0, -1.0]]), np.array([0.0, 1.0])])
    # W x + b = [3·1 − 1·2, 3·0.5 + 1·1 + 1] = [1, 3.5]
    np.testing.assert_allclose(cross(x0, x), [[1 * 1 + 3, 2 * 3.5 - 1]])
