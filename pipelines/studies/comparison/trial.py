"""A trial of a comparison, which trains a model, scores clicks with it, and measures its training speed."""

import dataclasses
import functools
import logging
import pathlib
import shutil
import time
from collections.abc import Sequence

import numpy as np

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from features.parsing import parse_features
from mal_tf.evaluation.metrics import auc, log_loss
from mal_tf.models.network import Network
from mal_tf.training import corrupt
from mal_tf.training.assembly import assemble
from mal_tf.training.auxiliaries import choose_auxiliaries
from mal_tf.training.checkpoint import Diverged
from mal_tf.training.dataset import batches, label_columns
from mal_tf.training.fit import EVENTS, fit
from mal_tf.training.recipe import Recipe
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled
from pipelines.studies.comparison.plan import Trial
from pipelines.train import stages

PREDICTIONS, BATCHES = "predictions.npy", "batches"

log = logging.getLogger("mal_tf.benchmark")

#: Number of steps before the timed ones, which include tracing.
_WARMUP_STEPS = 10

#: Number of batches held in memory while speed is measured.
_TIMED_BATCHES = 20


def prepare(trial: Trial, labels: str, output: str) -> None:
    """Saves the training batches of a trial with the labels of all mechanisms, so that other trials can share them.

    Arguments as in `run`.

    Raises:
        MalTfError: no segment is left to train on.
    """
    config, spec = trial.config, trial.config.feature_spec
    data = labelled.load(labels, spec)
    lookup, kept = lookup_model(spec, data.vocabularies), _trained_on(trial, data)
    names, size = config.attribution.names, config.training.batch_size
    with corrupt.named(kept, functools.partial(parse_features, spec=spec, extra=label_columns(names))):
        batches(kept, spec, lookup, names, size).save(f"{output}/{BATCHES}")


def _trained_on(trial: Trial, data: Labelled) -> Split:
    """Returns the training split without the segments that the trial holds out."""
    train = data.splits["train"]
    if not trial.held_out:
        return train
    kept = train.without_last(trial.held_out)
    if not kept.rows:
        filled = sum(any(rows) for rows in train.file_rows)
        raise MalTfError(
            f"tuning.validation_segments: {trial.held_out} held out of {filled} segments with clicks in the training split leave "
            "none to train on"
        )
    return kept


def run(trial: Trial, labels: str, prepared: str, output: str) -> dict:
    """Trains a model, scores clicks with it and writes `predictions.npy`, float32 [clicks] in the order of the files.

    Args:
        trial: the trial.
        labels: directory of the finished label job.
        prepared: directory with the output of `prepare`.
        output: directory to write to.

    Returns:
        `{"auc", "log_loss", "parameters", "examples_per_second", "seconds", "losses", …}`, with AUC and log-loss of the primary
        target on the scored mature clicks; null AUC if they are of one class. If the training diverges while tuning,
        `{"auc": null, "log_loss": null, "diverged": reason}`.

    Raises:
        MalTfError: the training diverges in a trial of a row.
    """
    try:
        network, result = _fit(trial, labels, prepared, output)
    except Diverged as error:
        if not trial.held_out:
            raise
        log.warning("%s: %s", trial, error)
        return {"auc": None, "log_loss": None, "diverged": str(error)}
    spec, data = trial.config.feature_spec, labelled.load(labels, trial.config.feature_spec)
    train, names = data.splits["train"], [trial.config.model.primary]
    held_out = train.chosen(range(len(_trained_on(trial, data).segments), len(train.segments)))
    scored = held_out if trial.held_out else data.splits["eval"]
    clicks = batches(scored, spec, lookup_model(spec, data.vocabularies), names, 8192)
    with corrupt.named(scored, functools.partial(parse_features, spec=spec, extra=label_columns(names))):
        prediction, label, mature = _score(network, clicks)
    try:
        result["auc"] = auc(label[mature], prediction[mature])
    except MalTfError:
        result["auc"] = None
    result["log_loss"] = log_loss(label[mature], prediction[mature]) if mature.any() else None
    np.save(pathlib.Path(output) / PREDICTIONS, prediction)
    return result


def _fit(trial: Trial, labels: str, prepared: str, output: str) -> tuple[Network, dict]:
    keras.backend.clear_session()
    recipe, unfinished = _recipe(trial, labels, trial.config.targets), pathlib.Path(output) / "unfinished"
    result = fit(recipe, str(unfinished), _batches(prepared))
    (unfinished / EVENTS).rename(pathlib.Path(output) / EVENTS)
    shutil.rmtree(unfinished)
    return result


def _recipe(trial: Trial, labels: str, targets: Sequence[str]) -> Recipe:
    """Returns the recipe of the trial, which trains on the training split without the held-out segments."""
    data = labelled.load(labels, trial.config.feature_spec)
    data = dataclasses.replace(data, splits=data.splits | {"train": _trained_on(trial, data)})
    return stages.recipe(trial.config, data, trial.config.model.name, targets)


def _batches(prepared: str) -> tf.data.Dataset:
    return tf.data.Dataset.load(f"{prepared}/{BATCHES}").prefetch(tf.data.AUTOTUNE)


def _score(network: Network, dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns prediction, label, and whether the click is mature, each of shape [clicks]."""
    target = network.primary.target
    served = keras.Model(network.model.input, network.model.output[network.primary.output])
    function = tf.function(lambda rows: tf.sigmoid(served(rows, training=False)))
    # Traced here, as calls that trace warn from the sixth model of a process on.
    predict = function.get_concrete_function(dataset.element_spec[0])
    parts = [(predict(rows).numpy(), labels[target].numpy(), labels["mature"].numpy()) for rows, labels in dataset]
    prediction, label, mature = (np.concatenate(column) for column in zip(*parts, strict=True))
    return prediction, label, mature == 1


def choose(trial: Trial, labels: str, prepared: str, output: str) -> dict:
    """Chooses the auxiliaries of the trial's primary target; arguments as in `run`, result as of `choose_auxiliaries`."""
    keras.backend.clear_session()
    return choose_auxiliaries(_recipe(trial, labels, trial.config.attribution.names), _batches(prepared))


def rate(trial: Trial, labels: str, prepared: str, steps: int, output: str) -> float:
    """Measures the training speed on batches in memory, in examples per second, from the median time of a step.

    Args:
        trial: the trial.
        labels: directory of the finished label job.
        prepared: as in `run`.
        steps: number of timed steps.
        output: directory of the task; nothing is written to it.
    """
    keras.backend.clear_session()
    timed_batches = list(_batches(prepared).take(_TIMED_BATCHES))
    trainer = assemble(_recipe(trial, labels, trial.config.targets), steps).trainer
    step, seconds = tf.function(trainer.train_step), []
    for number in range(_WARMUP_STEPS + steps):
        began = time.perf_counter()
        step(timed_batches[number % len(timed_batches)])["loss"].numpy()
        seconds.append(time.perf_counter() - began)
    return len(timed_batches[0][1]["mature"]) / float(np.median(seconds[_WARMUP_STEPS:]))
