"""The calibration stage: the last days of the training split are held out from training and fit the map that is exported."""

import dataclasses
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from features.parsing import parse_features
from mal_tf.calibration import calibration
from mal_tf.calibration.calibration import Calibration
from mal_tf.evaluation.metrics import Clicks, level_metrics
from mal_tf.models.network import Network
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled, LabelledClicks
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.train import stages

#: The stage, and the file it writes.
CALIBRATE, FILE = "calibrate", "calibration.json"

log = logging.getLogger("mal_tf.calibration")


@dataclasses.dataclass(frozen=True)
class _Scored:
    """Mature clicks: a network's logit, the primary's label, the time, and the value of the feature that slices are by."""

    logit: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray
    values: np.ndarray | None


def calibrate(config: RunConfig, labels: str, name: str, weights: str, output: str) -> dict:
    """Fits the map of the model called `name` to the clicks that were held out; writes `calibration.json`.

    Args:
        config: the run, with a `calibration`.
        labels: directory of the label job.
        name: of the model.
        weights: directory of its training.
        output: directory to write to.

    Returns:
        What is in the file, but for the curves: `{"method", "by", "segments", "min_positives", "first_timestamp",
        "last_timestamp", "clicks", "positives", "before": metrics, "after": metrics, "evaluation": {"clicks", "positives",
        "before", "after"}}`: log-loss, PCOC and expected calibration error on the held-out clicks and, which the map was not
        fitted on, on the evaluation split; null where there is no positive.

    Raises:
        MalTfError: what was held out has no mature click, or all are of one class.
    """
    data = labelled.load(labels, config.feature_spec)
    asked, network = config.calibration, stages.restore(config, data, name, weights)
    if asked is None:
        raise MalTfError("calibration is missing: there is no method to calibrate by")
    train = data.splits["train"]
    kept = len(train.without_last(asked.segments).segments)
    held_out = data.clicks_in(train.chosen(range(kept, len(train.segments))))
    fitted_on, judged_on = (_scored(config, data, network, clicks) for clicks in (held_out, data.clicks("eval")))
    try:
        found = calibration.fit(
            asked.method, fitted_on.logit, fitted_on.label, fitted_on.values, min_positives=asked.min_positives
        )
    except MalTfError as error:
        raise MalTfError(f"{name}, label_{config.model.primary}: {error}") from error
    positives = int((fitted_on.label > 0).sum())
    if positives < asked.min_positives:
        log.warning(
            "%s: calibrated on %s positives only: hold out more (calibration.segments), or lower calibration.min_positives",
            name,
            f"{positives:,}",
        )
    result = asked.model_dump(mode="json") | {
        "first_timestamp": int(fitted_on.timestamp.min()),
        "last_timestamp": int(fitted_on.timestamp.max()),
        **_before_and_after(found, fitted_on),
        "evaluation": _before_and_after(found, judged_on),
    }
    for where, of in (("the clicks it is fitted on", result), ("the evaluation split", result["evaluation"])):
        log.info("%s, calibrated by %s, on %s: %s", name, asked.method, where, _shown(of))
    if asked.by:
        log.info("%s: %s values of %s have a curve of their own", name, f"{len(found.slices):,}", asked.by)
    files.write_text(f"{output}/{FILE}", json.dumps(result | calibration.to_json(found), indent=1) + "\n")
    return result


def read(directory: str) -> Calibration:
    """The map that `calibrate` wrote."""
    return calibration.from_json(json.loads(files.read_text(f"{directory}/{FILE}")))


def _scored(config: RunConfig, data: Labelled, network: Network, clicks: LabelledClicks) -> _Scored:
    by = config.calibration.by if config.calibration else None
    spec, label = config.feature_spec, f"label_{config.model.primary}"
    lookup = lookup_model(spec, data.vocabularies)
    primary = keras.Model(network.model.input, network.model.output[network.primary.output])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def logits(examples: tf.Tensor) -> tf.Tensor:
        return primary(lookup(parse_features(examples, spec)), training=False)

    columns = [label, "mature", "timestamp", *([by] if by else [])]
    batches = clicks.read(columns, config.evaluation.batch_size, lambda examples: {"logit": logits(examples).numpy()})
    scored = pa.concat_tables(batches)
    scored = scored.filter(pc.equal(scored["mature"], 1))
    logit, labels, timestamp = (scored[name].to_numpy() for name in ("logit", label, "timestamp"))
    return _Scored(logit, labels, timestamp, scored[by].to_numpy() if by else None)


def _before_and_after(found: Calibration, clicks: _Scored) -> dict:
    return {
        "clicks": int(clicks.label.size),
        "positives": int((clicks.label > 0).sum()),
        "before": _metrics(clicks.label, expit(clicks.logit.astype(np.float64))),
        "after": _metrics(clicks.label, found(clicks.logit, clicks.values)),
    }


def _metrics(label: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    clicks = Clicks(np.zeros(len(label), np.int64), label, prediction)
    values = {name: metric.value(clicks) for name, metric in level_metrics().items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _shown(of: dict) -> str:
    pairs = ((name, of["before"][name], of["after"][name]) for name in level_metrics())
    return ", ".join(f"{name} {before:.4f} → {after:.4f}" for name, before, after in pairs if before is not None)
