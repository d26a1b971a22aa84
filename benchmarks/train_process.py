"""Makes one measurement of training and prints JSON: `python -m benchmarks.train_process '{"what": …}'`."""

import collections
import dataclasses
import json
import os
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks import mac_batches, plain_keras
from features.keras2 import keras, tf
from mal_tf.serving import OUTPUT
from mal_tf.serving.export import ServedModel
from mal_tf.training import optimizers
from mal_tf.training.assembly import assemble
from mal_tf.training.config import TrainingConfig
from mal_tf.training.dataset import serialized
from mal_tf.training.fit import fit
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.config.run import load
from pipelines.train import stages

#: Number of threads that PyMAL's quoted rates were measured with.
THREADS = 2

#: Number of steps before the measured ones, for tracing, compiling and first use of memory.
_WARMUP = 5

#: Number of table lookups in a batch of the reference workload: 16 scalars and three histories of 20.
_CELLS = 4096 * 76


class _Clock(keras.callbacks.Callback):
    """Records the time at the end of each batch."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def rate(contender: str, model: str, steps: int, seed: int, training: dict) -> dict:
    """Measure examples per second of `fit` and of inference by the primary head.

    Args:
        contender: `ours`, with deterministic ops as in every training, or `plain`.
        model: `base`, `natal` or `moae`.
        steps: number of measured steps; the median counts.
        seed: seed of weights and data.
        training: overrides of the training config.

    Returns:
        `{"training", "inference", "parameters", "unique"}`, the last being the number of distinct table rows in a batch.
    """
    keras.utils.set_random_seed(seed)
    work = mac_batches.load(**training)
    rows, labels = mac_batches.batches(work, 8, seed)
    dataset = tf.data.Dataset.from_tensor_slices((rows, labels))
    if contender == "ours":
        assembly = assemble(work.recipe(model, seed), 1000)
        trained, forward = assembly.trainer, assembly.network.model
    else:
        trained = forward = plain_keras.build(model, work)
        dataset = dataset.map(lambda rows, found: (rows, plain_keras.labels(trained, work, found)))
    batches = dataset.cache().prefetch(2)
    list(batches)
    clock = _Clock()
    trained.fit(batches.repeat(), steps_per_epoch=_WARMUP + steps, verbose=0, callbacks=[clock])
    primary = keras.Model(forward.input, forward.output[work.model.primary])
    predict = tf.function(lambda rows: primary(rows, training=False), autograph=False)
    ready = [{name: tf.constant(values[i]) for name, values in rows.items()} for i in range(8)]
    inference = _seconds(lambda i: predict(ready[i % 8]).numpy(), steps)
    size = work.training.batch_size
    return {
        "training": size / float(np.median(np.diff(clock.ends[_WARMUP - 1 :]))),
        "inference": size / float(np.median(inference)),
        "parameters": forward.count_params(),
        "unique": _unique(work, rows),
    }


def files(config: str, overrides: list[str], labels: str, model: str, times: int) -> dict:
    """Measure examples per second from a label job's training split to trained weights, and to CVRs.

    The cost of start-up and tracing is excluded: one pass reads the split once, another `times` times, and the rate is the
    difference of their examples over the difference of their seconds. A first pass does not count.

    Args:
        config: path of the run's config.
        overrides: overrides of its keys.
        labels: directory of the finished label job.
        model: the architecture.
        times: number of times that the longer pass reads the split, at least 2.

    Returns:
        `{"training", "inference"}`.
    """
    loaded = load(config, overrides)
    data, spec, size = labelled.load(labels, loaded.feature_spec), loaded.feature_spec, loaded.training.batch_size
    recipe, split = stages.recipe(loaded, data, model), data.splits["train"]

    def train(times: int) -> float:
        repeated = dataclasses.replace(recipe, split=Split.joined(*[split] * times))
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            fit(repeated, folder)
        return time.perf_counter() - began

    predict = ServedModel(spec, recipe.lookup, recipe.build()).signatures["serving_default"]

    def infer(times: int) -> float:
        began = time.perf_counter()
        for examples in serialized(Split.joined(*[split] * times), size).prefetch(2):
            predict(examples=examples)[OUTPUT].numpy()
        return time.perf_counter() - began

    rates = {}
    for kind, run_pass in (("training", train), ("inference", infer)):
        run_pass(1)
        once = run_pass(1)
        rates[kind] = split.rows * (times - 1) / (run_pass(times) - once)
    return rates


def _unique(work: mac_batches.Work, rows: dict[str, np.ndarray]) -> int:
    cells = collections.defaultdict(list)
    for feature in work.spec.scalars:
        cells[feature.name].append(rows[feature.name][0].ravel())
    for feature in work.spec.histories:
        cells[feature.of].append(rows[feature.name][0].ravel())
    return sum(len(np.unique(np.concatenate(parts))) for parts in cells.values())


def optimizer(name: str, rows: int, steps: int, seed: int) -> dict:
    """Measure the milliseconds of an optimiser's step for the gradient of a table, with as many lookups as a batch has.

    The popularity of the k-th row is proportional to 1 / k.

    Args:
        name: a `training.embedding_optimizer`, or `keras_adam` for Keras' own Adam.
        rows: number of rows of the table, which is 16 wide; at least `mac_batches.ACTIVE`.
        steps: number of measured steps; the median counts.
        seed: seed of the rows.
    """
    rng = np.random.default_rng(seed)
    table = tf.Variable(tf.zeros([rows, 16]))
    if name == "keras_adam":
        optimizer_ = keras.optimizers.Adam(1e-3, epsilon=1e-8)
    else:
        optimizer_ = optimizers.one(name, TrainingConfig(adam_epsilon=1e-8), optimizers.LinearWarmup(1e-3, 0))
    optimizer_.build([table])
    values = tf.constant(rng.normal(size=(_CELLS, 16)), tf.float32)

    @tf.function(autograph=False)
    def step(indices: tf.Tensor) -> tf.Tensor:
        optimizer_.apply_gradients([(tf.IndexedSlices(values, indices, [rows, 16]), table)])
        return optimizer_.iterations

    ready = [
        tf.constant((mac_batches.ACTIVE ** rng.random(_CELLS)).astype(np.int32) * (rows // mac_batches.ACTIVE))
        for _ in range(4)
    ]
    return {"milliseconds": 1e3 * float(np.median(_seconds(lambda i: step(ready[i % 4]).numpy(), steps)))}


def profile(model: str, steps: int, seed: int) -> dict:
    """Profile a training step with TensorFlow's profiler.

    Returns:
        `{"ops", "parts"}`: milliseconds per step, summed over threads, by kind of op and by layer.
    """
    work = mac_batches.load()
    rows, labels = mac_batches.batches(work, 4, seed)
    trainer = assemble(work.recipe(model, seed), 1000).trainer
    step = tf.function(trainer.train_step, autograph=False)
    ready = [tuple({k: tf.constant(v[i]) for k, v in part.items()} for part in (rows, labels)) for i in range(4)]
    _seconds(lambda i: step(ready[i % 4])["loss"].numpy(), 1)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for i in range(steps):
            step(ready[i % 4])["loss"].numpy()
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        return op_times(path.read_bytes(), steps)


def op_times(xspace: bytes, steps: int) -> dict:
    """Return milliseconds per step by kind of op and by layer, from a profile in TensorFlow's XSpace format."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    ops, parts = collections.Counter(), collections.Counter()
    for plane in xplane_pb2.XSpace.FromString(xspace).planes:
        if plane.name.startswith("/host:CPU"):
            for line in plane.lines:
                for event in line.events:
                    # Ops are named `path/of/the/op:Kind`.
                    match = re.fullmatch(r"([^\s:]+):(\w+)", plane.event_metadata[event.metadata_id].name)
                    if match:
                        ops[match[2]] += event.duration_ps / 1e9 / steps
                        parts[_part(match[1])] += event.duration_ps / 1e9 / steps
    return {"ops": dict(ops.most_common()), "parts": dict(parts.most_common())}


def _part(op: str) -> str:
    """Return the layer of an op: `gradient_tape/natal/last_tower_1/MatMul` is in `last_tower_1`."""
    path = op.removeprefix("gradient_tape/").split("/")
    return path[1] if len(path) > 2 else path[0]


def _seconds(run: Callable[[int], object], steps: int) -> list[float]:
    """Return the seconds of each call after the warm-up; `run` takes the number of the call."""
    seconds = []
    for i in range(_WARMUP + steps):
        began = time.perf_counter()
        run(i)
        seconds.append(time.perf_counter() - began)
    return seconds[_WARMUP:]


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    asked = json.loads(sys.argv[1])
    print(
        json.dumps(
            {"rate": rate, "files": files, "optimizer": optimizer, "profile": profile}[asked.pop("what")](**asked)
        )
    )
