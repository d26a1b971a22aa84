"""The stages from the label job to the evaluation: train, export. Each takes finished directories and fills one."""

import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Sequence

import numpy as np

from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.parsing import raw_signature
from features.spec import FeatureSpec
from mal_tf.calibration.calibration import Calibration
from mal_tf.calibration.in_graph import ServedCalibration
from mal_tf.models import factory
from mal_tf.models.network import Network
from mal_tf.serving import check
from mal_tf.serving.candidates import of_one_user
from mal_tf.serving.export import CANDIDATES, ServedModel, export
from mal_tf.serving.graph_size import graph_size
from mal_tf.serving.requests import signature_requests
from mal_tf.training import auxiliaries, warm_start
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.dataset import serialized
from mal_tf.training.delayed_feedback import Immature
from mal_tf.training.fit import EVENTS, fit
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig
from pipelines.core import files

log = logging.getLogger("mal_tf.export")


def choose_auxiliaries(config: RunConfig, labelled: Labelled) -> dict:
    """Chooses auxiliaries for `auto`; see `mal_tf.training.auxiliaries.choose_auxiliaries`."""
    split, spec = labelled.splits["train"], config.feature_spec
    return auxiliaries.choose_auxiliaries(
        spec,
        lookup_model(spec, labelled.vocabularies),
        labelled.vocabularies,
        split,
        config.attribution.names,
        config.model,
        config.training,
        config.seed,
    )


def train(
    config: RunConfig,
    labelled: Labelled,
    name: str,
    output: str,
    kept: str,
    cluster: Cluster = ALONE,
    immature: Immature | None = None,
) -> dict:
    """Trains the model called `name`; writes its weights, what a later one needs to start from them, `training.json`
    and TensorBoard's event files.

    Args:
        config: the run.
        labelled: splits and vocabularies.
        name: of the model.
        output: directory to write to.
        kept: directory that outlives a process that is killed: the same training goes on from what lies there.
        cluster: where to train; the chief alone writes.
        immature: how clicks whose window has not closed train; by default not at all.

    Returns:
        See `mal_tf.training.fit.fit`.
    """
    spec = config.feature_spec
    network, result = fit(
        name,
        spec,
        lookup_model(spec, labelled.vocabularies),
        labelled.vocabularies,
        labelled.splits["train"],
        config.targets,
        config.model,
        config.training,
        config.seed,
        kept,
        cluster=cluster,
        immature=immature,
    )
    if not cluster.chief:
        return result
    description = warm_start.describe(name, spec, config.model, config.targets, labelled.vocabularies)
    warm_start.write(output, network, description)
    shutil.copytree(pathlib.Path(kept) / EVENTS, pathlib.Path(output) / EVENTS)
    files.write_text(f"{output}/training.json", json.dumps(result, indent=1) + "\n")
    return result


def export_model(
    config: RunConfig,
    labelled: Labelled,
    name: str,
    weights_directory: str,
    output: str,
    calibration: Calibration | None = None,
) -> dict:
    """Exports a trained model as the next version under `output`, and checks it in a fresh process.

    Args:
        config: the run.
        labelled: splits and vocabularies.
        name: of the model.
        weights_directory: of its training.
        output: directory of its versions.
        calibration: of its logits, by `config.calibration.by`.

    Returns:
        `{"version": integer, "largest_difference", "load_s", "latency_ms", "trained": size, "served": size}`; see
        `check.Checked`. Sizes as `graph_size` gives them: from raw features to all heads of the trained network, and to the CVR.
    """
    spec, lookup = config.feature_spec, lookup_model(config.feature_spec, labelled.vocabularies)
    network = restore(config, labelled, name, weights_directory)
    trained = tf.function(lambda raw: network.model(lookup(raw), training=False), [raw_signature(spec)])
    by = config.calibration and config.calibration.by
    in_graph = calibration and ServedCalibration(calibration, spec.scalar(by) if by else None)
    served = ServedModel(spec, lookup, network, config.export.user_features, in_graph)
    graphs = {"trained": trained.get_concrete_function(), "served": served.signatures["predict_raw"]}
    sizes = {which: graph_size(graph) for which, graph in graphs.items()}
    for which, size in sizes.items():
        log.info("%s, %s graph: %s parameters, %s ops", name, which, f"{size['parameters']:,}", f"{size['ops']:,}")

    count = config.export.warmup_requests
    examples = next(iter(serialized(labelled.splits["eval"].segments, max(count, 32))))

    def cvr(raw: dict[str, np.ndarray]) -> np.ndarray:
        logits = trained(raw)[network.primary.output]
        return calibration(logits.numpy(), raw[by] if by else None) if calibration else tf.sigmoid(logits).numpy()

    cases = _cases(examples, spec, config.export.user_features, cvr)
    requests = {signature: {k: v[:count] for k, v in inputs.items()} for signature, (inputs, _) in cases.items()}
    version, checked = export(
        served, output, requests if count else {}, lambda directory: check.verify(directory, cases)
    )
    measured = dataclasses.asdict(checked)
    measured.pop("reasons")
    return {"version": int(pathlib.Path(version).name), **measured, **sizes}


def _cases(
    examples: tf.Tensor,
    spec: FeatureSpec,
    user_features: Sequence[str],
    cvr: Callable[[dict[str, np.ndarray]], np.ndarray],
) -> dict[str, check.Case]:
    """Each signature's inputs and what the trained model makes of them."""
    requests = signature_requests(examples, spec, user_features)
    raw = requests["predict_raw"]
    expected = dict.fromkeys(requests, cvr(raw))
    if user_features:
        expected[CANDIDATES] = cvr(of_one_user(raw, user_features)[1])
    return {signature: (inputs, expected[signature]) for signature, inputs in requests.items()}


def restore(config: RunConfig, labelled: Labelled, name: str, directory: str) -> Network:
    """The model called `name` with the weights that `train` left in `directory`."""
    sizes = table_sizes(config.feature_spec, labelled.vocabularies)
    network = factory.build(name, config.feature_spec, sizes, config.model, config.targets)
    network.model.load_weights(str(pathlib.Path(directory) / warm_start.WEIGHTS))
    return network


def clear_session() -> None:
    """Forgets Keras' global state between models of one process."""
    keras.backend.clear_session()
