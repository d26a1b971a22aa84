"""Evaluates exported models on labelled clicks: metrics under every label and by slice, with intervals."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.keras2 import tf
from mal_tf.evaluation.bootstrap import Scored, resampled_together
from mal_tf.evaluation.calibration import calibration_curve
from mal_tf.evaluation.metrics import metrics_or_nan, registered_metrics
from mal_tf.serving import OUTPUT
from pipelines.clicks.labelled import Labelled, load
from pipelines.clicks.scoring import add_slice_columns, check_finite, score
from pipelines.config.evaluation import EvaluationConfig, slice_features
from pipelines.config.run import RunConfig
from pipelines.evaluate import results, users
from pipelines.evaluate.slices import Slice, make_slices

METRICS, EVENTS = "metrics.json", "events"

log = logging.getLogger("mal_tf.evaluation")

#: Version of the evaluation, incremented when a change of the code changes its results on the same clicks.
_VERSION = 2


def computed_by() -> list:
    """Return what an evaluation's result depends on beside its inputs, for fingerprints: the version and the metrics."""
    return [_VERSION, *registered_metrics()]


def run(
    config: RunConfig, labels: str, versions: Mapping[str, str], output: str, split: str = "eval", trained: str = ""
) -> dict[str, Any]:
    """Run the evaluation stage: `evaluate` on the clicks of a label job.

    Args:
        config: the run's config.
        labels: directory of the label job whose clicks are evaluated.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        split: `train` or `eval`.
        trained: directory of the label job that the models were trained on; `labels` by default.

    Returns:
        The part of `metrics.json` on the primary target: `target`, `split`, `served`, `models` and `differences`.
    """
    evaluated, trained_on = (load(directory, config.feature_spec) for directory in (labels, trained or labels))
    metrics = evaluate(config, evaluated, versions, output, split, trained_on)
    return {key: metrics[key] for key in ("target", "split", "served", "models", "differences")}


def evaluate(
    config: RunConfig,
    labelled: Labelled,
    versions: Mapping[str, str],
    output: str,
    split: str = "eval",
    trained: Labelled | None = None,
) -> dict[str, Any]:
    """Score a split's mature clicks with each exported model and measure the predictions.

    Writes `metrics.json`, `predictions.parquet`, and TensorBoard's event files for each model.

    Args:
        config: the run's config.
        labelled: the label job whose clicks are evaluated.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        split: `train` or `eval`.
        trained: the label job that the models were trained on, which tells known users and values from new ones;
            `labelled` by default.

    Returns:
        The content of `metrics.json`; see `pipelines.evaluate.results.result`. Differences are the served model
        (`config.model.name`, or the first model if it is not among them) minus each of the others.

    Raises:
        MalTfError: see `score`; or a prediction is not a finite number.
    """
    slices, spec = config.slices, config.feature_spec
    frame = score(config, labelled, versions, output, list(slice_features(slices, spec)), split)
    past = labelled.clicks("train") if split == "eval" else None
    frame = add_slice_columns(frame, slices, config, past, trained or labelled)
    evaluated = _EvaluatedClicks(
        frame["user_id"],
        {name: frame[f"label_{name}"].to_numpy(np.float64) for name in config.attribution.names},
        {name: check_finite(frame[f"{OUTPUT}_{name}"].to_numpy(), name, labelled.directory) for name in versions},
        config.model.name if config.model.name in versions else next(iter(versions)),
        config.evaluation,
        config.seed,
    )
    primary = config.model.primary
    kinds = []
    for by in (by for by in slices if by in frame):
        parts = make_slices(frame[by], evaluated.labels[primary], config.evaluation)
        kinds.append(evaluated.by_slice(by, parts, primary))
    result = results.write(
        f"{output}/{METRICS}",
        results.result(
            primary,
            split,
            evaluated.served,
            evaluated.by_label(),
            kinds,
            config.evaluation.bootstrap_samples,
            config.seed,
        ),
    )
    write_events(result["labels"], f"{output}/{EVENTS}")
    for note in result["notes"]:
        log.warning("%s", note)
    return result


class _EvaluatedClicks:
    """Evaluated clicks, with their users, labels and predictions.

    Args:
        user_id: string [clicks].
        labels: float64 [clicks] by mechanism.
        predictions: float [clicks] by model.
        served: the model that the others are compared with.
        config: numbers of resamples and bins, and limits of slices.
        seed: seed of the resamples.

    Attributes:
        labels: float64 [clicks] by mechanism.
        served: the model that the others are compared with.
    """

    def __init__(
        self,
        user_id: pd.Series,
        labels: Mapping[str, np.ndarray],
        predictions: Mapping[str, np.ndarray],
        served: str,
        config: EvaluationConfig,
        seed: int,
    ):
        self._user, self._hashed = users.coded(user_id)
        self.labels, self._predictions, self.served = labels, predictions, served
        self._config, self._seed = config, seed

    def by_label(self) -> dict[str, dict[str, Any]]:
        """Return the results by mechanism, as `_compared`, with a `calibration` curve for each model."""
        all_clicks = np.ones(self._user.size, bool)
        results_by_label = self._compared({name: (all_clicks, label) for name, label in self.labels.items()})
        for name, label in self.labels.items():
            results_by_label[name]["calibration"] = {
                model: calibration_curve(self._user, label, prediction, self._config.calibration_bins)
                for model, prediction in self._predictions.items()
            }
        return results_by_label

    def by_slice(self, by: str, parts: Sequence[Slice], primary: str) -> list[dict[str, Any]]:
        """Return an entry for each slice, under the primary target's label; see `slice_entry`.

        On slices that contain all negatives only ranking metrics are defined, as their share of positives is arbitrary.
        """
        label, ranked = self.labels[primary], any(part.own is not None for part in parts)
        undefined = results.non_ranking(registered_metrics().values()) if ranked else ()
        compared = self._compared({part.name: (part.chosen, label) for part in parts}, undefined)
        entries = []
        for part in parts:
            count, growth = int(np.unique(self._user[part.chosen]).size), part.growth(self.labels, self._config.growth)
            entries.append(results.slice_entry(by, part.name, count, growth, compared[part.name]))
        return entries

    def _compared(
        self, parts: Mapping[str, tuple[np.ndarray, np.ndarray]], undefined: Sequence[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Return metrics, intervals and differences for each named part of the clicks, given as a mask and a label.

        The metrics in `undefined` are NaN.
        """
        scored = {
            (name, model): Scored(self._user[chosen], label[chosen], prediction[chosen])
            for name, (chosen, label) in parts.items()
            for model, prediction in self._predictions.items()
        }
        results_by_part: dict[str, dict[str, Any]] = {
            name: {"models": {}, "intervals": {}, "differences": {}} for name in parts
        }
        for (name, model), (user, label, prediction) in scored.items():
            code = np.unique(user, return_inverse=True)[1]
            results_by_part[name]["models"][model] = metrics_or_nan(
                code, label, prediction, self._config.calibration_bins
            )
            results_by_part[name]["models"][model] |= dict.fromkeys(undefined, math.nan)
        if samples := self._config.bootstrap_samples:
            drawn = resampled_together(self._hashed, scored, samples, self._seed)
            for resampled in drawn.values():
                resampled |= {metric: np.full(1 + samples, np.nan) for metric in undefined if metric in resampled}
            for name in parts:
                by_model = {model: drawn[name, model] for model in self._predictions}
                results_by_part[name] |= results.compared(by_model, self.served)
        return results_by_part


def write_events(labels: Mapping[str, Mapping[str, Any]], directory: str) -> None:
    """Write scalars `label_<mechanism>/<metric>` for TensorBoard, to a directory for each model.

    Args:
        labels: by mechanism, `models`: the metrics of each model. Metrics that are None are left out.
        directory: directory to write to.
    """
    for model in next(iter(labels.values()))["models"]:
        writer = tf.summary.create_file_writer(f"{directory}/{model}")
        with writer.as_default(step=0):
            for mechanism, label_results in labels.items():
                for metric in registered_metrics():
                    if (value := label_results["models"][model].get(metric)) is not None:
                        tf.summary.scalar(f"label_{mechanism}/{metric}", value)
        writer.close()
