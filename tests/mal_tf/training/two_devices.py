"""Run as a program: trains a network alone and on two logical CPU devices; prints the largest differences as JSON.

A process of its own, for logical devices have to be made first, and two MirroredStrategies in one process collide.
"""

import json
import sys

import numpy as np

from features.keras2 import keras, tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from mal_tf.training import optimizers, replicas  # noqa: E402
from mal_tf.training.config import TrainingConfig  # noqa: E402
from mal_tf.training.trainer import Trainer  # noqa: E402
from tests.support.models import TARGETS, build  # noqa: E402

#: Batches of 20, the last of one click: one device has no share of it.
CLICKS, BATCH = 61, 20


def clicks() -> tuple[dict, dict]:
    generator = np.random.default_rng(0)
    labels = {name: generator.random(CLICKS) * (generator.random(CLICKS) < 0.4) for name in TARGETS}
    rows = {"item": generator.integers(4, size=CLICKS), "seen": generator.integers(4, size=(CLICKS, 3))}
    return (
        {name: tf.constant(values, tf.int32) for name, values in rows.items()},
        {name: tf.constant(values, tf.float32) for name, values in labels.items()}
        | {"mature": tf.constant(generator.random(CLICKS) < 0.8, tf.int64)},
    )


def train(strategy: tf.distribute.Strategy, name: str, options: dict) -> tuple[list[np.ndarray], dict[str, float]]:
    everything, numbers = clicks(), tf.data.Dataset.range(CLICKS).batch(BATCH)

    def of_rows(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return dataset.map(lambda rows: tf.nest.map_structure(lambda values: tf.gather(values, rows), everything))

    with strategy.scope():
        network, config = build(name), TrainingConfig(warmup_share=0, **options)
        trainer = Trainer(network, [t for t in TARGETS if t in {h.target for h in network.heads}], config)
        trainer.compile(optimizer=optimizers.build(network, config, 4))
    if strategy.num_replicas_in_sync == 1:
        data = of_rows(numbers)
    else:
        data = strategy.distribute_datasets_from_function(lambda _: of_rows(replicas.shares(numbers, [0, 1], 2)))
    trainer.fit(data, steps_per_epoch=4, verbose=0)
    return network.model.get_weights(), {metric.name: float(metric.result()) for metric in trainer.metrics}


def main():
    name, options = sys.argv[1], json.loads(sys.argv[2])
    alone, losses_alone = train(tf.distribute.get_strategy(), name, options)
    keras.backend.clear_session()
    both, losses = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), name, options)
    start = [w.numpy() for w in build(name).model.weights]
    found = {
        "weights": max(float(np.abs(a - b).max()) for a, b in zip(alone, both, strict=True)),
        "losses": max(abs(value - losses[key]) / max(1, abs(value)) for key, value in losses_alone.items()),
        "moved": max(float(np.abs(a - b).max()) for a, b in zip(alone, start, strict=True)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
