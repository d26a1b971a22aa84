"""A small training in a process of its own, which can be killed at a chosen moment."""

import multiprocessing
import os
import pathlib
import pickle
import signal
import threading
import time

import numpy as np
import pyarrow as pa

from features.example import encode, to_lists
from features.spec import CategoricalFeature, FeatureSpec, HistoryFeature, NumericFeature
from features.tfrecord import GzippedTFRecords
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.models.config import ModelConfig, config_class
from mal_tf.training.config import TrainingConfig
from mal_tf.training.split import Split

SPEC = FeatureSpec(
    features=(
        CategoricalFeature(type="categorical", name="shop"),
        CategoricalFeature(type="categorical", name="item", dtype="int64"),
        NumericFeature(type="numeric", name="price"),
        HistoryFeature(type="history", name="seen", of="item", length=3),
    )
)
VOCABULARIES = {"shop": ["a", "b", "c"], "item": [str(n) for n in range(1, 30)], "price": ["1.0", "2.0"]}
TARGETS = ("last", "first", "linear")
SMALL = {"embedding_dim": 4, "bottom_units": (8,), "expert_units": (8,), "tower_units": (4,), "attention_units": (4,)}

#: Clicks in each file: uneven, one without any, and segments that end within a batch.
ROWS = ((70, 33), (0, 101), (45, 60))


def clicks(rows: int, generator: np.random.Generator) -> pa.RecordBatch:
    """Clicks with labels, as the label job encodes them."""
    columns = {
        "shop": pa.array(generator.choice(["a", "b", "c", "unknown"], rows).tolist(), pa.string()),
        "item": pa.array(generator.integers(1, 33, rows)),
        "price": pa.array(generator.gamma(2.0, 1.0, rows).astype(np.float32)),
        "seen": pa.array(
            [generator.integers(1, 33, n).tolist() for n in generator.integers(5, size=rows)], pa.list_(pa.int64())
        ),
        "timestamp": pa.array(np.arange(rows) * 3000),
        "user_id": pa.array([f"u{number % 20}" for number in range(rows)]),
        "mature": pa.array((generator.random(rows) < 0.9).astype(np.int64)),
    }
    columns |= {f"label_{name}": pa.array((generator.random(rows) < 0.3).astype(np.float32)) for name in TARGETS}
    return pa.RecordBatch.from_pydict(columns)


def write(folder: pathlib.Path, rows=ROWS) -> Split:
    """Writes a split under `folder`."""
    generator, segments, counts = np.random.default_rng(7), [], []
    for number, segment in enumerate(rows):
        segments.append([])
        counts.append([])
        for part, count in enumerate(segment):
            file = GzippedTFRecords(level=2)
            batch = clicks(count, generator)
            file.write(encode(to_lists(batch)))
            mature = np.asarray(batch["mature"]) == 1
            counts[-1].append(LabelCounts.count({name: np.asarray(batch[f"label_{name}"])[mature] for name in TARGETS}))
            path = folder / f"{number}-{part}.gz"
            path.write_bytes(file.close())
            segments[-1].append(str(path))
    return Split(segments, [list(segment) for segment in rows], counts)


def architecture(name: str, **options) -> ModelConfig:
    """A small model's configuration."""
    own = config_class((name,)).model_fields
    keys = {key: value for key, value in SMALL.items() if key in own}
    return ModelConfig(**{"name": name, "primary": "last"} | keys | options)


def recipe(split: Split, model: str, **training):
    """The recipe of a small training, with these keys of its config."""
    from mal_tf.training.recipe import Recipe

    config = TrainingConfig(**{"batch_size": 16, "embedding_optimizer": "adam"} | training)
    return Recipe(SPEC, VOCABULARIES, split, TARGETS, architecture(model), config, seed=5)


def train(split: Split, directory: pathlib.Path, model: str, config: dict, **more) -> tuple[list[np.ndarray], dict]:
    """Trains, with `more` for `fit`; returns weights and what it reports."""
    from mal_tf.training.fit import fit

    network, result = fit(recipe(split, model, **config), str(directory), **more)
    return network.model.get_weights(), result


def _run(split, directory, model, config, deadly):
    if deadly:
        _arm(*deadly)
    found = train(split, directory, model, config)
    (directory / "result").write_bytes(pickle.dumps(found))


def _arm(moment: str, step: int, delay: float = 0) -> None:
    """Has this process killed: after a `step`, or `delay` seconds into the `save` of its checkpoint."""
    from features.keras2 import tf
    from mal_tf.training.checkpoint import Checkpoints

    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
    if moment == "step":
        ended = Checkpoints.on_train_batch_end

        def on_train_batch_end(self, batch, logs=None):
            ended(self, batch, logs)
            if self.place.step == step:
                kill()

        Checkpoints.on_train_batch_end = on_train_batch_end
        return
    save = tf.train.CheckpointManager.save

    def saving(self, checkpoint_number):
        if checkpoint_number == step:
            threading.Thread(target=lambda: (time.sleep(delay), kill())).start()
        return save(self, checkpoint_number)

    tf.train.CheckpointManager.save = saving


def process(split: Split, directory: pathlib.Path, model="base", config={}, deadly=None):  # noqa: B006
    """A training in another process, not started yet; `deadly` as `_arm` takes it."""
    directory.mkdir(exist_ok=True)
    return _CONTEXT.Process(target=_run, args=(split, directory, model, config, deadly))


def finished(split: Split, directory: pathlib.Path, model="base", config={}) -> tuple[list[np.ndarray], dict]:  # noqa: B006
    """What a training in another process, run to its end, gives."""
    running = process(split, directory, model, config)
    running.start()
    running.join()
    assert running.exitcode == 0
    return pickle.loads((directory / "result").read_bytes())


# TensorFlow is imported once, in the server; the processes are its forks.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["mal_tf.training.fit", "features.lookup", "tests.mal_tf.training.small"])
