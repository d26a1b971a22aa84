import numpy as np
import pytest

from features.keras2 import keras, tf
from mal_tf.training.adam import Adam

RATE, EPSILON = 0.1, 0.05  # So large that its place shows.
STEPS = [([0, 2], [[1.0, -2.0], [3.0, 0.5]]), ([2, 2], [[1.0, 1.0], [-4.0, 0.25]]), ([1, 2], [[0.1, 0.0], [1e-9, 2.0]])]


def expected(start, lazy):
    """In NumPy, as torch.optim.Adam's and SparseAdam's documentations put it."""
    x, m, v = start.astype("d"), np.zeros_like(start, "d"), np.zeros_like(start, "d")
    for t, (rows, values) in enumerate(STEPS, 1):
        gradient = np.zeros_like(x)
        np.add.at(gradient, rows, values)
        moves = np.isin(np.arange(len(x)), rows)[:, None] if lazy else np.ones((len(x), 1), bool)
        m = np.where(moves, 0.9 * m + 0.1 * gradient, m)
        v = np.where(moves, 0.999 * v + 0.001 * gradient**2, v)
        x = np.where(moves, x - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + EPSILON), x)
    return x


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_three_steps(lazy, dense):
    start = np.arange(8, dtype="f").reshape(4, 2)
    variable, optimizer = tf.Variable(start), Adam(RATE, EPSILON, lazy=lazy)
    for rows, values in STEPS:
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([4, 2]))
        optimizer.apply_gradients([(tf.convert_to_tensor(gradient) if dense else gradient, variable)])
    np.testing.assert_allclose(variable, expected(start, lazy and not dense), rtol=1e-5)
    assert int(optimizer.iterations) == 3


def test_first_step_by_hand():
    variable, optimizer = tf.Variable([1.0]), Adam(0.5, epsilon=3.0)
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert variable.numpy().tolist() == pytest.approx([1 - 0.5 * 1 / (1 + 3)])  # m̂ = v̂ = 1.


def test_config_makes_the_same_optimizer():
    optimizer = Adam(0.25, epsilon=1e-4, lazy=True)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()


def test_moments_are_in_the_checkpoint(tmp_path):
    states = []
    for _ in range(2):
        variable, optimizer = tf.Variable([1.0, 2.0]), Adam(0.1)
        optimizer.build([variable])
        checkpoint = tf.train.Checkpoint(variable=variable, optimizer=optimizer)
        if states:
            checkpoint.restore(states[0][0]).assert_consumed()
        else:
            optimizer.apply_gradients([(tf.constant([1.0, -1.0]), variable)])
            states.append([checkpoint.save(tmp_path / "state")])
        optimizer.apply_gradients([(tf.constant([0.5, 0.5]), variable)])
        states.append(variable.numpy())
    np.testing.assert_array_equal(states[1], states[2])
