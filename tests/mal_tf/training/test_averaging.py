"""Averages of weights: the mean and the exponential one by hand, in a whole training, and over a kill."""

import subprocess
import sys

import numpy as np
import pytest

from features.keras2 import keras
from mal_tf.training.averaging import WeightAverages
from mal_tf.training.config import AveragingConfig
from tests.mal_tf.training import small

AVERAGED = {"averaging": {"last_share": 0.5}, "batch_size": 16}


def averaged(values, **config) -> float:
    """What is left of a weight that took these values after the steps of a training."""
    network = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
    averages = WeightAverages(network, AveragingConfig(**config), len(values))
    for step, value in enumerate(values, 1):
        network.set_weights([np.array([[value]])])
        averages.update(step)
    averages.apply()
    return float(network.get_weights()[0][0, 0])


def test_the_mean_of_the_last_share():
    assert averaged([9.0, 9.0, 1.0, 2.0, 6.0], last_share=0.6) == pytest.approx(3.0)
    assert averaged([9.0, 5.0], last_share=0.01) == 5.0  # The last step at least.


def test_an_exponential_average_begins_as_a_mean():
    # Rates 1, 1/2, then 1 − 0.6 = 0.4 in the place of 1/3 and 1/4.
    expected = ((1 + 2) / 2 * 0.6 + 0.4 * 5) * 0.6 + 0.4 * 4
    assert averaged([1.0, 2.0, 5.0, 4.0], last_share=1, decay=0.6) == pytest.approx(expected)


def test_a_training_ends_with_the_mean_of_its_weights(tmp_path, monkeypatch):
    split, seen = small.write(tmp_path), []
    update = WeightAverages.update

    def updated(self, step):
        seen.append([weight.numpy() for weight in self._weights])
        update(self, step)

    monkeypatch.setattr(WeightAverages, "update", updated)
    weights, _ = small.train(split, tmp_path / "run", "home", AVERAGED)  # Its BatchNorm has moving moments.
    assert len(seen) == 20
    for found, *last in zip(weights, *seen[10:], strict=True):
        np.testing.assert_allclose(found, np.mean(last, axis=0), rtol=1e-5, atol=1e-7)


def test_a_killed_training_goes_on_to_the_same_averages(tmp_path):
    split, config = small.write(tmp_path), AVERAGED | {"checkpoint": {"every_steps": 3}}
    uninterrupted, _ = small.finished(split, tmp_path / "whole", config=config)
    killed = small.process(split, tmp_path / "killed", config=config, deadly=("step", 16))
    killed.start()
    killed.join()
    assert killed.exitcode == -9
    weights, _ = small.finished(split, tmp_path / "killed", config=config)
    for found, expected in zip(weights, uninterrupted, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_two_devices_end_with_the_averages_of_one(tmp_path):
    """In a process of its own: logical devices are made before TensorFlow does anything else."""
    code = """
import pathlib, sys
import subprocess
import sys

import numpy as np
from features.keras2 import keras, tf
devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from mal_tf.training.cluster import ALONE, Cluster
from tests.mal_tf.training import small

folder = pathlib.Path(sys.argv[1])
split, rates = small.write(folder), {"learning_rate": 0.1, "embedding_learning_rate": 0.1}
config = {"averaging": {"last_share": 0.5}, "optimizer": "sgd", "embedding_optimizer": "sgd"} | rates
alone, _ = small.train(split, folder / "alone", "mal", config)
last, _ = small.train(split, folder / "last", "mal", config | {"averaging": None})
keras.backend.clear_session()
both = Cluster("mirrored", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
shared, _ = small.train(split, folder / "both", "mal", config, cluster=both)
for found, expected in zip(shared, alone, strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-6)
assert max(np.abs(a - b).max() for a, b in zip(alone, last, strict=True)) > 1e-3
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
