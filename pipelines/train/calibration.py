"""The calibration stage, which fits a calibration map to the last segments of the training split, held out from training."""

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

#: Name of the stage, and the file that it writes.
CALIBRATE, FILE = "calibrate", "calibration.json"

log = logging.getLogger("mal_tf.calibration")


@dataclasses.dataclass(frozen=True)
class _Scored:
    """Mature clicks with their logit, the label of the primary target, the timestamp, and the value of `calibration.by`."""

    logit: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray
    values: np.ndarray | None


def calibrate(config: RunConfig, labels: str, name: str, weights: str, output: str) -> dict:
    """Fits the calibration map of a model to the held-out clicks and writes `calibration.json`.

    Args:
        config: config of the run, with a `calibration` block.
        labels: directory of the label job.
        name: name of the model.
        weights: directory of the model's training.
        output: directory to write to.

    Returns:
        The content of the file without the curves: `{"method", "by", "segments", "min_positives", "first_timestamp",
        "last_timestamp", "clicks", "positives", "before": metrics, "after": metrics, "evaluation": {"clicks", "positives",
        "before", "after"}}`. The metrics are log-loss, PCOC and expected calibration error on the held-out clicks and, under
        `evaluation`, on the evaluation split; null if there are no positives.

    Raises:
        MalTfError: no held-out click is mature, or all are of one class.
    """
    data = labelled.load(labels, config.feature_spec)
    settings, network = config.calibration, stages.restore(config, data, name, weights)
    if settings is None:
        raise MalTfError("calibration is missing from the config; set calibration.method")
    train = data.splits["train"]
    kept = len(train.without_last(settings.segments).segments)
    held_out = data.clicks_in(train.chosen(range(kept, len(train.segments))))
    held_out_scores, eval_scores = (_score(config, data, network, clicks) for clicks in (held_out, data.clicks("eval")))
    try:
        fitted = calibration.fit(
            settings.method,
            held_out_scores.logit,
            held_out_scores.label,
            held_out_scores.values,
            min_positives=settings.min_positives,
        )
    except MalTfError as error:
        raise MalTfError(f"{name}, label_{config.model.primary}: {error}") from error
    positives = int((held_out_scores.label > 0).sum())
    if positives < settings.min_positives:
        log.warning(
            "%s: calibrated on only %s positives; raise calibration.segments or lower calibration.min_positives",
            name,
            f"{positives:,}",
        )
    result = settings.model_dump(mode="json") | {
        "first_timestamp": int(held_out_scores.timestamp.min()),
        "last_timestamp": int(held_out_scores.timestamp.max()),
        **_before_and_after(fitted, held_out_scores),
        "evaluation": _before_and_after(fitted, eval_scores),
    }
    for clicks, metrics in (("the held-out clicks", result), ("the evaluation split", result["evaluation"])):
        log.info("%s, calibrated by %s, on %s: %s", name, settings.method, clicks, _describe(metrics))
    if settings.by:
        log.info("%s: %s values of %s have a curve of their own", name, f"{len(fitted.slices):,}", settings.by)
    files.write_text(f"{output}/{FILE}", json.dumps(result | calibration.to_json(fitted), indent=1) + "\n")
    return result


def read(directory: str) -> Calibration:
    """Reads the calibration map that `calibrate` wrote."""
    return calibration.from_json(json.loads(files.read_text(f"{directory}/{FILE}")))


def _score(config: RunConfig, data: Labelled, network: Network, clicks: LabelledClicks) -> _Scored:
    """Computes the logits of the mature clicks."""
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


def _before_and_after(curves: Calibration, clicks: _Scored) -> dict:
    """Returns counts, and metrics before and after calibration."""
    return {
        "clicks": int(clicks.label.size),
        "positives": int((clicks.label > 0).sum()),
        "before": _metrics(clicks.label, expit(clicks.logit.astype(np.float64))),
        "after": _metrics(clicks.label, curves(clicks.logit, clicks.values)),
    }


def _metrics(label: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    clicks = Clicks(np.zeros(len(label), np.int64), label, prediction)
    values = {name: metric.value(clicks) for name, metric in level_metrics().items()}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _describe(metrics: dict) -> str:
    pairs = ((name, metrics["before"][name], metrics["after"][name]) for name in level_metrics())
    return ", ".join(f"{name} {before:.4f} → {after:.4f}" for name, before, after in pairs if before is not None)
