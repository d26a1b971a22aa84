import numpy as np
import pytest

from features.keras2 import tf
from mal_tf.training import losses

LABEL = tf.constant([0.0, 0.25, 1.0])


@pytest.mark.parametrize(
    ("loss", "target", "weight"),
    [
        ("weighted", [0, 1, 1], [1, 0.25, 1]),
        ("soft", [0, 0.25, 1], [1, 1, 1]),
        ("binary", [0, 1, 1], [1, 1, 1]),
        ("pymal", [0, 1, 1], [1, 1, 1]),
    ],
)
def test_target_and_weight(loss, target, weight):
    found = losses.target_and_weight(LABEL, loss)
    np.testing.assert_allclose(found, (target, weight))


def test_weighted_mean_by_hand():
    target, weight = losses.target_and_weight(LABEL, "weighted")
    logits = np.array([0.0, 1.0, -2.0])
    of_each = np.array([np.log(2), np.log1p(np.exp(-1)), np.log1p(np.exp(2))])
    expected = (of_each * [1, 0.25, 1]).sum() / 2.25
    loss = losses.cross_entropy(cat=False)
    found = loss(target[:, None], tf.constant(logits, tf.float32)[:, None], losses.share(weight))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_no_weight_at_all_is_no_loss():
    np.testing.assert_array_equal(losses.share(tf.zeros(3)), 0)


def test_cat_class():
    found = losses.cat_class([LABEL, tf.constant([0.0, 0.0, 1.0]), tf.constant([1.0, 0.0, 0.5])])
    assert found.numpy().tolist() == [4, 1, 7]


def test_pymal_floor():
    binary, cat = losses.cross_entropy(cat=False, loss="pymal"), losses.cross_entropy(cat=True, loss="pymal")
    assert float(binary(tf.constant([[1.0]]), tf.constant([[-80.0]]))) == pytest.approx(18.4207, abs=1e-4)
    assert float(binary(tf.constant([[0.0]]), tf.constant([[0.0]]))) == pytest.approx(np.log(2))
    assert float(cat(tf.constant([1]), tf.constant([[0.0, 0.0, np.log(2)]]))) == pytest.approx(np.log(4))
