"""The export stage, which writes a trained model as the next version of its SavedModel and checks it in a fresh process."""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from features.keras2 import tf
from features.lookup import lookup_model
from features.parsing import raw_signature
from features.spec import FeatureSpec
from mal_tf.calibration.in_graph import ServedCalibration
from mal_tf.serving import check
from mal_tf.serving.candidates import requests_for_one_user
from mal_tf.serving.export import CANDIDATES, ServedModel, export
from mal_tf.serving.graph_size import graph_size
from mal_tf.serving.requests import signature_requests
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.train import calibration
from pipelines.train.stages import restore

log = logging.getLogger("mal_tf.export")


def export_model(
    config: RunConfig, labels: str, name: str, weights: str, output: str, calibrated: str | None = None
) -> dict:
    """Exports a trained model as the next version under `output` and checks it in a fresh process.

    Args:
        config: config of the run.
        labels: directory of the label job.
        name: name of the model.
        weights: directory of the model's training.
        output: directory of the model's versions.
        calibrated: directory of the model's calibration; None if its logits are not calibrated.

    Returns:
        `{"version": integer, "largest_difference", "load_s", "latency_ms", "trained": size, "served": size}`; see
        `check.Checked`. Sizes are those of `graph_size`: of the trained graph, from raw features to all heads, and of the
        served graph, from raw features to the CVR.
    """
    spec, data = config.feature_spec, labelled.load(labels, config.feature_spec)
    lookup, network = lookup_model(spec, data.vocabularies), restore(config, data, name, weights)
    trained = tf.function(lambda raw: network.model(lookup(raw), training=False), [raw_signature(spec)])
    by = config.calibration and config.calibration.by
    curves = calibration.read(calibrated) if calibrated else None
    in_graph = None if curves is None else ServedCalibration(curves, spec.scalar(by) if by else None)
    served = ServedModel(spec, lookup, network, config.export.user_features, in_graph)
    graphs = {"trained": trained.get_concrete_function(), "served": served.signatures["predict_raw"]}
    sizes = {which: graph_size(graph) for which, graph in graphs.items()}
    for which, size in sizes.items():
        log.info("%s, %s graph: %s parameters, %s ops", name, which, f"{size['parameters']:,}", f"{size['ops']:,}")

    count = config.export.warmup_requests
    examples = data.clicks("eval").head(max(count, 32))

    def cvr(raw: dict[str, np.ndarray]) -> np.ndarray:
        logits = trained(raw)[network.primary.output]
        return curves(logits.numpy(), raw[by] if by else None) if curves else tf.sigmoid(logits).numpy()

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
    """Returns the inputs of each signature with the predictions that the trained model makes for them."""
    requests = signature_requests(examples, spec, user_features)
    raw = requests["predict_raw"]
    expected = dict.fromkeys(requests, cvr(raw))
    if user_features:
        expected[CANDIDATES] = cvr(requests_for_one_user(raw, user_features)[1])
    return {signature: (inputs, expected[signature]) for signature, inputs in requests.items()}
