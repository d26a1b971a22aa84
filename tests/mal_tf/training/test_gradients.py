import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.training import gradients
from mal_tf.training.config import TrainingConfig
from mal_tf.training.trainer import Trainer
from tests.support.models import LABELS, ROWS, TARGETS, build

# Two variables; the second is unknown to the first loss. In the first one a and b conflict: a . b = -1.
A, B, C = (tf.constant(v) for v in ([1.0, 0.0], [-1.0, 1.0], [0.0, 2.0]))
ALONE = tf.constant([5.0])


def lists(result):
    return [None if g is None else tf.convert_to_tensor(g).numpy().tolist() for g in result]


def test_pcgrad_by_hand():
    # a' = a + b / 2 = [0.5, 0.5]; b' = b + a = [0, 1].
    orders = tf.constant([[0, 1], [1, 0]])
    assert lists(gradients.pcgrad([[A, None], [B, None]], orders)) == [[0.5, 1.5], None]
    # With the second variable |b|^2 = 27: a' = a + b / 27.
    found = gradients.pcgrad([[A, None], [B, ALONE]], orders)
    assert lists(found) == [pytest.approx([26 / 27, 28 / 27]), pytest.approx([5 + 5 / 27])]


def test_pcgrad_takes_the_whole_vector():
    # a . b = -1 in the first variable and 2 in the second: no conflict.
    pairs = [[A, tf.constant([1.0])], [B, tf.constant([2.0])]]
    assert lists(gradients.pcgrad(pairs, tf.constant([[0, 1], [0, 1]]))) == [[0.0, 1.0], [3.0]]
    assert lists(gradients.pcgrad_pymal(pairs)) == [[pytest.approx(1.0), 1.0], [3.0]]


def test_pcgrad_depends_on_the_order():
    first, second, third = [[A]], [[B]], [tf.constant([0.0, -1.0])]
    three = [*first, *second, third]

    def found(order):
        return lists(gradients.pcgrad(three, tf.constant([order] * 3)))[0]

    # a meets b: [0.5, 0.5], then c, which conflicts: [0.5, 0]. b: after a [0, 1], after c [0, 0]. c: b gives [-0.5, -0.5],
    # then a [0, -0.5].
    assert found([1, 0, 2]) == pytest.approx([0.5, -0.5])
    # a meets c first (no conflict), then b: [0.5, 0.5]. b: c gives [-1, 0], a [0, 0]. c: a (none), b [-0.5, -0.5].
    assert found([2, 0, 1]) == pytest.approx([0.0, 0.0])


def test_pcgrad_pymal_by_hand():
    # a . b < 0: b + a = [0, 1]. Then a + b' + c; the main gradient is never projected.
    assert lists(gradients.pcgrad_pymal([[A, None], [B, ALONE], [C, None]])) == [pytest.approx([1.0, 3.0]), [5.0]]


def test_gcs_by_hand():
    weights = gradients.gcs([[A], [B]]), gradients.gcs([[A], [-B]])
    assert lists(weights[0]) == [[1.0, 0.0]]
    assert lists(weights[1])[0] == pytest.approx([1 + 0.5**0.5, -(0.5**0.5)])
    # Unreached by the main loss: the sum as it is. Only the second auxiliary is known to the last variable.
    found = gradients.gcs([[A, None, None], [B, ALONE, None], [B, ALONE, ALONE]])
    assert lists(found) == [[1.0, 0.0], [10.0], [5.0]]


def test_gcs_pymal_by_hand():
    weight = 1 / (1 + np.exp(0.5**0.5))
    found = lists(gradients.gcs_pymal([[A, None, None], [B, ALONE, None], [B, ALONE, None]]))
    assert found[0] == pytest.approx([1 - 2 * weight, 2 * weight])
    assert found[1:] == [pytest.approx([5 + 5 * weight]), None]


def test_nothing_shared_and_zero_gradients_are_defined():
    assert lists(gradients.gcs([[A, None], [None, ALONE]])) == [[1.0, 0.0], [5.0]]
    assert lists(gradients.gcs([[A], [A * 0]])) == [[1.0, 0.0]]
    assert lists(gradients.pcgrad([[A], [A * 0]], tf.constant([[0, 1], [0, 1]]))) == [[1.0, 0.0]]


def test_tables_stay_sparse_and_repeated_rows_count_together():
    def slices(values, rows):
        return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([9, 2]))

    first, second = slices([[1.0, 0.0], [1.0, 0.0]], [7, 7]), slices([[-1.0, 0.0], [0.0, 3.0]], [7, 2])
    (found,) = gradients.on_touched_rows(gradients.pcgrad_pymal, [[first], [second]])
    assert isinstance(found, tf.IndexedSlices)
    # Row 7: [2, 0] against [-1, 0] conflicts; projected, it is gone.
    dense = tf.convert_to_tensor(found).numpy()
    assert sorted(found.indices.numpy()) == [2, 7]
    np.testing.assert_allclose(dense[[2, 7]], [[0, 3], [2, 0]], atol=1e-6)


def test_stacked_tables_are_variables_of_their_own():
    first = tf.IndexedSlices(tf.constant([[1.0], [1.0]]), tf.constant([0, 3]), tf.constant([4, 1]))
    second = tf.IndexedSlices(tf.constant([[2.0], [-1.0]]), tf.constant([0, 3]), tf.constant([4, 1]))
    # One vector: 1 * 2 - 1 * 1 > 0 is no conflict. A table each: the second's two are opposite, so that one goes.
    (whole,) = gradients.on_touched_rows(gradients.pcgrad_pymal, [[first], [second]])
    assert lists([whole])[0] == [[3], [0], [0], [0]]
    (found,) = gradients.on_touched_rows(gradients.pcgrad_pymal, [[first], [second]], [[2, 4]])
    assert lists([found])[0] == [[3], [0], [0], [pytest.approx(1)]]


@pytest.mark.parametrize("variant", ["published", "pymal"])
@pytest.mark.parametrize("kind", ["pcgrad", "gcs"])
def test_training_steps(kind, variant):
    network = build("natal")
    trainer = Trainer(network, TARGETS, TrainingConfig(gradients=kind, gradient_variant=variant), seed=3)
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    data = tf.data.Dataset.from_tensors((ROWS, LABELS)).repeat(30)
    history = trainer.fit(data, verbose=0).history
    assert history["loss"][-1] < float(Trainer(build("natal"), TARGETS, TrainingConfig()).compute_loss((ROWS, LABELS)))
    assert {"loss_last", "loss_cat"} <= set(history)


def test_one_loss_alone_is_left_as_it_is():
    """With a single head every combination is plain descent."""
    weights = []
    for kind in ("sum", "pcgrad", "gcs"):
        network = build("base")
        trainer = Trainer(network, TARGETS, TrainingConfig(gradients=kind))
        trainer.compile(optimizer=keras.optimizers.SGD(0.1))
        trainer.fit(tf.data.Dataset.from_tensors((ROWS, LABELS)), verbose=0)
        weights.append(network.model.get_weights())
    for other in weights[1:]:
        for expected, found in zip(weights[0], other, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
