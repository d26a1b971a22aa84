"""The training stages: the choice of auxiliary targets, and the training of a model."""

import json
import pathlib
import shutil

from features.keras2 import keras
from features.lookup import lookup_model, table_sizes
from mal_tf.models import factory
from mal_tf.models.network import Network
from mal_tf.training import auxiliaries, warm_start
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.fit import EVENTS, fit
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.train.credit_delay import Copies
from pipelines.train.inputs import without_held_out


def choose_auxiliaries(config: RunConfig, labels: str) -> dict:
    """Chooses auxiliaries for `auto`; see `mal_tf.training.auxiliaries.choose_auxiliaries`.

    Args:
        config: the run.
        labels: directory of the label job.
    """
    keras.backend.clear_session()
    spec = config.feature_spec
    data = without_held_out(config, labelled.load(labels, spec))
    return auxiliaries.choose_auxiliaries(
        spec,
        lookup_model(spec, data.vocabularies),
        data.vocabularies,
        data.splits["train"],
        config.attribution.names,
        config.model,
        config.training,
        config.seed,
    )


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
    spec = config.feature_spec
    data = without_held_out(config, labelled.load(labels, spec))
    network, result = fit(
        name,
        spec,
        lookup_model(spec, data.vocabularies),
        data.vocabularies,
        copies.of(data.splits) if copies else data.splits["train"],
        config.targets,
        config.model,
        config.training,
        config.seed,
        kept,
        cluster=cluster,
        immature=copies.immature if copies else None,
    )
    if not cluster.chief:
        return result
    description = warm_start.describe(name, spec, config.model, config.targets, data.vocabularies)
    warm_start.write(output, network, description)
    shutil.copytree(pathlib.Path(kept) / EVENTS, pathlib.Path(output) / EVENTS)
    files.write_text(f"{output}/training.json", json.dumps(result, indent=1) + "\n")
    return result


def restore(config: RunConfig, data: Labelled, name: str, directory: str) -> Network:
    """The model called `name` with the weights that `train` left in `directory`."""
    sizes = table_sizes(config.feature_spec, data.vocabularies)
    network = factory.build(name, config.feature_spec, sizes, config.model, config.targets)
    network.model.load_weights(str(pathlib.Path(directory) / warm_start.WEIGHTS))
    return network
