"""Run as a program: trains alone, and as on two TPU cores without embedding hardware; prints the largest differences as JSON.

The cores are logical CPU devices under a MirroredStrategy: a process of its own, as for `two_devices`.
"""

import json
import pathlib
import tempfile

import numpy as np

from features.keras2 import keras, tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from mal_tf.training.cluster import Cluster  # noqa: E402
from tests.mal_tf.training import small  # noqa: E402

#: 61 clicks in batches of 15, which two cores can't share evenly; the last of one click.
CONFIG = {"batch_size": 15, "optimizer": "sgd", "embedding_optimizer": "lazy_adam", "adam_epsilon": 1e-3}


def main():
    with tempfile.TemporaryDirectory() as folder:
        split = small.write(pathlib.Path(folder), ((31, 30),))
        alone, found = small.train(split, f"{folder}/alone", "shared_bottom", CONFIG)
        keras.backend.clear_session()
        cores = Cluster("tpu", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
        both, losses = small.train(split, f"{folder}/both", "shared_bottom", CONFIG, cluster=cores)
        keras.backend.clear_session()
        still = {"learning_rate": 1e-12, "embedding_learning_rate": 1e-12}
        start, _ = small.train(split, f"{folder}/still", "shared_bottom", CONFIG | still)
    largest = lambda one, other: max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))  # noqa: E731
    apart = max(abs(found["losses"][key] - losses["losses"][key]) for key in losses["losses"])
    print(json.dumps({"weights": largest(alone, both), "moved": largest(alone, start), "losses": apart}))


if __name__ == "__main__":
    main()
