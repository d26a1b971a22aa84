"""The training stages: the choice of auxiliary targets, and the training of a model."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Sequence

from features.keras2 import keras
from mal_tf.models.network import Network
from mal_tf.training import auxiliaries, warm_start
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.fit import EVENTS, fit
from mal_tf.training.recipe import Recipe
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.train.credit_delay import Copies
from pipelines.train.inputs import without_held_out


def recipe(config: RunConfig, data: Labelled, name: str, targets: Sequence[str] | None = None) -> Recipe:
    """The recipe of the model called `name`: it trains on the training split, by default with the config's targets."""
    return Recipe(
        config.feature_spec,
        data.vocabularies,
        data.splits["train"],
        config.targets if targets is None else targets,
        config.model.alone(name),
        config.training,
        config.seed,
    )


def choose_auxiliaries(config: RunConfig, labels: str) -> dict:
    """Chooses auxiliaries for `auto`; see `mal_tf.training.auxiliaries.choose_auxiliaries`.

    Args:
        config: the run.
        labels: directory of the label job.
    """
    keras.backend.clear_session()
    data = without_held_out(config, labelled.load(labels, config.feature_spec))
    return auxiliaries.choose_auxiliaries(recipe(config, data, config.model.name, config.attribution.names))


def train(
    config: RunConfig,
    labels: str,
    name: str,
    output: str,
    kept: str,
    cluster: Cluster = ALONE,
    copies: Copies | None = None,
) -> dict:
    """Trains the model called `name`; writes its weights, what a later one needs to start from them, `training.json`
    and TensorBoard's event files.

    Args:
        config: the run, its auxiliaries chosen.
        labels: directory of the label job.
        name: of the model.
        output: directory to write to.
        kept: directory that outlives a process that is killed: the same training goes on from what lies there.
        cluster: where to train; the chief alone writes.
        copies: what trains in place of the training split; by default that split, and no click before its window has closed.

    Returns:
        See `mal_tf.training.fit.fit`.
    """
    keras.backend.clear_session()
    data = without_held_out(config, labelled.load(labels, config.feature_spec))
    if copies:
        data = dataclasses.replace(data, splits=data.splits | {"train": copies.of(data.splits)})
    asked = recipe(config, data, name)
    network, result = fit(asked, kept, cluster=cluster, immature=copies.immature if copies else None)
    if not cluster.chief:
        return result
    warm_start.write(output, network, asked.description)
    shutil.copytree(pathlib.Path(kept) / EVENTS, pathlib.Path(output) / EVENTS)
    files.write_text(f"{output}/training.json", json.dumps(result, indent=1) + "\n")
    return result


def restore(config: RunConfig, data: Labelled, name: str, directory: str) -> Network:
    """The model called `name` with the weights that `train` left in `directory`."""
    network = recipe(config, data, name).build()
    network.model.load_weights(str(pathlib.Path(directory) / warm_start.WEIGHTS))
    return network
