import numpy as np

from features.keras2 import tf
from mal_tf.layers.feature_gate import FeatureGate
from mal_tf.layers.gate import Gate, SelfGate

X = tf.constant([[1.0]])
EXPERTS = [tf.constant([[4.0, 8.0]]), tf.constant([[0.0, -8.0]])]


def mixed(layer, experts, kernel):
    layer((X, experts))
    layer.set_weights([np.array([kernel], "f"), np.zeros(len(kernel), "f")])
    return layer((X, experts)).numpy()


def test_gate_by_hand():
    np.testing.assert_allclose(mixed(Gate(), EXPERTS, [np.log(3), 0]), [[3.0, 4.0]], rtol=1e-6)


def test_gate_of_one_expert_is_open():
    np.testing.assert_allclose(mixed(Gate(), EXPERTS[:1], [-7.0]), EXPERTS[0])


def test_self_gate_is_a_sigmoid_for_one_expert_and_a_softmax_for_several():
    np.testing.assert_allclose(mixed(SelfGate(), EXPERTS[:1], [np.log(3)]), [[3.0, 6.0]], rtol=1e-6)
    np.testing.assert_allclose(mixed(SelfGate(), EXPERTS, [np.log(3), 0]), [[3.0, 4.0]], rtol=1e-6)


def test_feature_gate_by_hand():
    layer, x = FeatureGate(rank=1), tf.constant([[4.0, 1.0]])
    layer(x)
    # A x = 4 - 3 = 1; 2 sigmoid(B) = [2 * 3/4, 2 * 1/2].
    layer.set_weights([np.array([[1.0], [-3.0]], "f"), np.array([[np.log(3), 0.0]], "f")])
    np.testing.assert_allclose(layer(x), [[6.0, 1.0]], rtol=1e-6)
