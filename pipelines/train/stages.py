"""The training stages, which choose auxiliary targets and train a model."""

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
from pipelines.core import files, manifest
from pipelines.train.credit_delay import Copies
from pipelines.train.inputs import check_classes, without_held_out


def recipe(config: RunConfig, data: Labelled, name: str, targets: Sequence[str] | None = None) -> Recipe:
    """Returns the recipe that trains the model called `name` on the training split, by default with the config's targets."""
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
    """Chooses the auxiliaries for `auto`; see `mal_tf.training.auxiliaries.choose_auxiliaries`.

    Args:
        config: config of the run.
        labels: directory of the label job.
    """
    keras.backend.clear_session()
    data = without_held_out(config, labelled.load(labels, config.feature_spec))
    check_classes(config, data)
    return auxiliaries.choose_auxiliaries(recipe(config, data, config.model.name, config.attribution.names))


def train(
    config: RunConfig,
    labels: str,
    name: str,
    output: str,
    checkpoints: str,
    cluster: Cluster = ALONE,
    copies: Copies | None = None,
) -> dict:
    """Trains the model called `name`.

    Writes its weights, what a later training needs to start from them, `training.json` and the event files of TensorBoard.

    Args:
        config: config of the run, with resolved auxiliaries.
        labels: directory of the label job.
        name: name of the model.
        output: directory to write to.
        checkpoints: directory of checkpoints, from which an interrupted training resumes.
        cluster: devices to train on; only the chief writes.
        copies: what to train on with delayed feedback; by default the mature clicks of the training split.

    Returns:
        The result of `mal_tf.training.fit.fit`.
    """
    keras.backend.clear_session()
    data = without_held_out(config, labelled.load(labels, config.feature_spec))
    if not copies:
        check_classes(config, data)
    else:
        data = dataclasses.replace(data, splits=data.splits | {"train": copies.training_split(data.splits)})
    model_recipe = recipe(config, data, name)
    if config.training.warm_start:
        earlier = warm_start.locate(config.training.warm_start, name)
        for file in (warm_start.WEIGHTS, warm_start.NETWORK):
            manifest.check_file(earlier, file)
    network, result = fit(model_recipe, checkpoints, cluster=cluster, immature=copies.immature if copies else None)
    if not cluster.chief:
        return result
    warm_start.write(output, network, model_recipe.description)
    shutil.copytree(pathlib.Path(checkpoints) / EVENTS, pathlib.Path(output) / EVENTS)
    files.write_text(f"{output}/training.json", json.dumps(result, indent=1) + "\n")
    return result


def restore(config: RunConfig, data: Labelled, name: str, directory: str) -> Network:
    """Builds the model called `name` with the weights that `train` wrote to `directory`."""
    network = recipe(config, data, name).build()
    manifest.check_file(directory, warm_start.WEIGHTS)
    network.model.load_weights(str(pathlib.Path(directory) / warm_start.WEIGHTS))
    return network
