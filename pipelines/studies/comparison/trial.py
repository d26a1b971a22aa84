"""One trial of a comparison: trains a model, scores what it is judged on, measures how fast it trains."""

import dataclasses
import logging
import pathlib
import shutil
import time
from collections.abc import Sequence

import numpy as np

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from mal_tf.evaluation.metrics import auc
from mal_tf.models.network import Network
from mal_tf.training.assembly import assemble
from mal_tf.training.auxiliaries import choose_auxiliaries
from mal_tf.training.checkpoint import Diverged
from mal_tf.training.dataset import batches
from mal_tf.training.fit import EVENTS, fit
from mal_tf.training.recipe import Recipe
from pipelines.clicks import labelled
from pipelines.studies.comparison.plan import Trial
from pipelines.train import stages

PREDICTIONS, BATCHES = "predictions.npy", "batches"

log = logging.getLogger("mal_tf.benchmark")

#: Steps before the clock runs: tracing, and the first steps of all.
_WARMUP_STEPS = 10

#: Batches that are held in memory while speed is measured.
_READY = 20


def prepare(trial: Trial, labels: str, output: str) -> None:
    """Saves the batches that the trial trains on, with the labels of all mechanisms: other trials use them too.

    Arguments as in `run`.

    Raises:
        MalTfError: no segment is left to train on.
    """
    config, spec = trial.config, trial.config.feature_spec
    data = labelled.load(labels, spec)
    segments = data.splits["train"].segments
    if trial.held_out >= len(segments):
        raise MalTfError(
            f"tuning.validation_segments: {trial.held_out} held out of {len(segments)} segments of the training split "
            "leave none to train on"
        )
    lookup, kept = lookup_model(spec, data.vocabularies), segments[: len(segments) - trial.held_out]
    size = config.training.batch_size
    batches(kept, spec, lookup, config.attribution.names, size).save(f"{output}/{BATCHES}")


def run(trial: Trial, labels: str, prepared: str, output: str) -> dict:
    """Trains and scores; writes `predictions.npy`, float32 [clicks] in the files' order.

    Args:
        trial: what to train.
        labels: directory of the finished label job.
        prepared: directory of `prepare`'s outputs.
        output: directory to write to.

    Returns:
        `{"auc", "parameters", "examples_per_second", "seconds", "losses", …}`: AUC of the primary target on the scored
        mature clicks, null if they are of one class; `{"auc": null, "diverged": why}` for a rate to try at which the
        training diverges.

    Raises:
        MalTfError: the training of a row diverges.
    """
    try:
        network, result = _fitted(trial, labels, prepared, output)
    except Diverged as error:
        if not trial.held_out:
            raise
        log.warning("%s: %s", trial, error)
        return {"auc": None, "diverged": str(error)}
    spec, data = trial.config.feature_spec, labelled.load(labels, trial.config.feature_spec)
    judged = data.splits["train"].segments[-trial.held_out :] if trial.held_out else data.splits["eval"].segments
    clicks = batches(judged, spec, lookup_model(spec, data.vocabularies), [trial.config.model.primary], 8192)
    prediction, label, mature = _scored(network, clicks)
    try:
        result["auc"] = auc(label[mature], prediction[mature])
    except MalTfError:
        result["auc"] = None
    np.save(pathlib.Path(output) / PREDICTIONS, prediction)
    return result


def _fitted(trial: Trial, labels: str, prepared: str, output: str) -> tuple[Network, dict]:
    keras.backend.clear_session()
    recipe, unfinished = _recipe(trial, labels, trial.config.targets), pathlib.Path(output) / "unfinished"
    fitted = fit(recipe, str(unfinished), _batches(prepared))
    (unfinished / EVENTS).rename(pathlib.Path(output) / EVENTS)
    shutil.rmtree(unfinished)
    return fitted


def _recipe(trial: Trial, labels: str, targets: Sequence[str]) -> Recipe:
    """What the trial trains: on the training split without the segments that are held out."""
    data = labelled.load(labels, trial.config.feature_spec)
    train = data.splits["train"]
    kept = train.chosen(range(len(train.segments) - trial.held_out))
    data = dataclasses.replace(data, splits=data.splits | {"train": kept})
    return stages.recipe(trial.config, data, trial.config.model.name, targets)


def _batches(prepared: str) -> tf.data.Dataset:
    return tf.data.Dataset.load(f"{prepared}/{BATCHES}").prefetch(tf.data.AUTOTUNE)


def _scored(network: Network, dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, label and whether mature, of each click."""
    target = network.primary.target
    served = keras.Model(network.model.input, network.model.output[network.primary.output])
    predict = tf.function(lambda rows: tf.sigmoid(served(rows, training=False)), reduce_retracing=True)
    parts = [(predict(rows).numpy(), labels[target].numpy(), labels["mature"].numpy()) for rows, labels in dataset]
    prediction, label, mature = (np.concatenate(column) for column in zip(*parts, strict=True))
    return prediction, label, mature == 1


def choose(trial: Trial, labels: str, prepared: str, output: str) -> dict:
    """Chooses the auxiliaries of the trial's primary target; arguments as in `run`, returns as `choose_auxiliaries`."""
    keras.backend.clear_session()
    return choose_auxiliaries(_recipe(trial, labels, trial.config.attribution.names), _batches(prepared))


def rate(trial: Trial, labels: str, prepared: str, steps: int, output: str) -> float:
    """Examples per second of training on batches that are in memory, median over the steps.

    Args:
        trial: what to train.
        labels: directory of the finished label job.
        prepared: as in `run`.
        steps: how many are timed.
        output: directory of the task; nothing is written to it.
    """
    keras.backend.clear_session()
    ready = list(_batches(prepared).take(_READY))
    trainer = assemble(_recipe(trial, labels, trial.config.targets), steps).trainer
    step, seconds = tf.function(trainer.train_step), []
    for number in range(_WARMUP_STEPS + steps):
        began = time.perf_counter()
        step(ready[number % len(ready)])["loss"].numpy()
        seconds.append(time.perf_counter() - began)
    return len(ready[0][1]["mature"]) / float(np.median(seconds[_WARMUP_STEPS:]))
