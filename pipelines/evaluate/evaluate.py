"""Exported models side by side on labelled clicks: metrics under every label and by slice, with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.evaluation.bootstrap import Scored, resampled_together
from mal_tf.evaluation.calibration import calibration_curve
from mal_tf.evaluation.metrics import all_metrics, metrics_or_nan, registered_metrics
from mal_tf.serving.export import OUTPUT
from pipelines.clicks.labelled import Labelled, load
from pipelines.clicks.scoring import check_finite, score, with_slices
from pipelines.config.evaluation import EvaluationConfig, features_of
from pipelines.config.run import RunConfig
from pipelines.evaluate import results, users
from pipelines.evaluate.slices import Slice, slices_of

METRICS, EVENTS = "metrics.json", "events"

#: Counts up when an evaluation's code changes what it finds in the same clicks.
_VERSION = 2


def computed_by() -> list:
    """What the result of an evaluation depends on beside what it is given: JSON-able."""
    return [_VERSION, *registered_metrics()]


def run(
    config: RunConfig, labels: str, versions: Mapping[str, str], output: str, split: str = "eval", trained: str = ""
) -> dict[str, Any]:
    """Runs the evaluation stage: `evaluate` on the clicks of a label job.

    Args:
        config: the run.
        labels: directory of the label job whose clicks are evaluated.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        split: `train` or `eval`.
        trained: directory of the label job that the models were trained on; `labels` by default.

    Returns:
        What `metrics.json` says of the primary target: `target`, `split`, `served`, `models` and `differences`.
    """
    data, other = (load(directory, config.feature_spec) for directory in (labels, trained or labels))
    metrics = evaluate(config, data, versions, output, split, other)
    return {key: metrics[key] for key in ("target", "split", "served", "models", "differences")}


def evaluate(
    config: RunConfig,
    labelled: Labelled,
    versions: Mapping[str, str],
    output: str,
    split: str = "eval",
    trained: Labelled | None = None,
) -> dict[str, Any]:
    """Scores a split's mature clicks with each exported model; writes `metrics.json`, `predictions.parquet` and, by model,
    TensorBoard's event files.

    Args:
        config: the run.
        labelled: the label job whose clicks are evaluated.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        split: `train` or `eval`.
        trained: the label job that the models were trained on, for what is known and what is new; `labelled` by default.

    Returns:
        What `metrics.json` holds; see `docs/evaluation.md`. Differences are the served model (`config.model.name`, or the
        first where it is not among them) minus each other.

    Raises:
        MalTfError: see `score`; a prediction is not a number; under the primary target's label there is one class only, or
            no user has both.
    """
    slices, spec = config.slices, config.feature_spec
    frame = score(config, labelled, versions, output, list(features_of(slices, spec)), split)
    past = labelled.clicks("train") if split == "eval" else None
    frame = with_slices(frame, slices, config, past, trained or labelled)
    judged = _Judged(
        frame["user_id"],
        {name: frame[f"label_{name}"].to_numpy(np.float64) for name in config.attribution.names},
        {name: check_finite(frame[f"{OUTPUT}_{name}"].to_numpy(), name, labelled.directory) for name in versions},
        config.model.name if config.model.name in versions else next(iter(versions)),
        config.evaluation,
        config.seed,
    )
    primary = config.model.primary
    judged.check(primary, split)
    kinds = []
    for by in (by for by in slices if by in frame):
        parts = slices_of(frame[by], judged.labels[primary], config.evaluation)
        kinds.append(judged.by_slice(by, parts, primary))
    result = results.write(
        f"{output}/{METRICS}",
        results.result(
            primary,
            split,
            judged.served,
            judged.by_label(),
            kinds,
            config.evaluation.bootstrap_samples,
            config.seed,
        ),
    )
    write_events(result["labels"], f"{output}/{EVENTS}")
    return result


class _Judged:
    """Clicks with their users, labels and predictions.

    Args:
        user_id: string [clicks].
        labels: float64 [clicks] by mechanism.
        predictions: float [clicks] by model.
        served: the model that the others are compared with.
        config: resamples, bins and slices.
        seed: of the resamples.

    Attributes:
        labels: as given.
        served: as given.
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

    def check(self, primary: str, split: str) -> None:
        """Raises what can't be measured under the primary target's label."""
        try:
            all_metrics(self._user, self.labels[primary], self._predictions[self.served])
        except MalTfError as error:
            raise MalTfError(f"{split} split, label_{primary}: {error}") from error

    def by_label(self) -> dict[str, dict[str, Any]]:
        """By mechanism: as `_compared`, and `calibration`, a curve by model."""
        every = np.ones(self._user.size, bool)
        found = self._compared({name: (every, label) for name, label in self.labels.items()})
        for name, label in self.labels.items():
            found[name]["calibration"] = {
                model: calibration_curve(self._user, label, prediction, self._config.calibration_bins)
                for model, prediction in self._predictions.items()
            }
        return found

    def by_slice(self, by: str, parts: Sequence[Slice], primary: str) -> list[dict[str, Any]]:
        """A slice each: see `slice_entry`, under the primary target's label.

        Slices with negatives beside their own have too few positives for any metric but those of rank.
        """
        label, ranked = self.labels[primary], any(part.own is not None for part in parts)
        without = results.not_of_rank(registered_metrics().values()) if ranked else ()
        compared = self._compared({part.name: (part.chosen, label) for part in parts}, without)
        entries = []
        for part in parts:
            count, growth = int(np.unique(self._user[part.chosen]).size), part.growth(self.labels, self._config.growth)
            entries.append(results.slice_entry(by, part.name, count, growth, compared[part.name]))
        return entries

    def _compared(
        self, parts: Mapping[str, tuple[np.ndarray, np.ndarray]], without: Sequence[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Metrics, their intervals and differences of parts of the clicks, each with its label, by name; NaN for those
        `without`.
        """
        scored = {
            (name, model): Scored(self._user[chosen], label[chosen], prediction[chosen])
            for name, (chosen, label) in parts.items()
            for model, prediction in self._predictions.items()
        }
        found: dict[str, dict[str, Any]] = {name: {"models": {}, "intervals": {}, "differences": {}} for name in parts}
        for (name, model), (user, label, prediction) in scored.items():
            code = np.unique(user, return_inverse=True)[1]
            found[name]["models"][model] = metrics_or_nan(code, label, prediction, self._config.calibration_bins)
            found[name]["models"][model] |= dict.fromkeys(without, math.nan)
        if samples := self._config.bootstrap_samples:
            drawn = resampled_together(self._hashed, scored, samples, self._seed)
            for resampled in drawn.values():
                resampled |= {metric: np.full(1 + samples, np.nan) for metric in without if metric in resampled}
            for name in parts:
                of_models = {model: drawn[name, model] for model in self._predictions}
                found[name] |= results.compared(of_models, self.served)
        return found


def write_events(labels: Mapping[str, Mapping[str, Any]], directory: str) -> None:
    """Writes scalars `label_<mechanism>/<metric>` for TensorBoard, by model.

    Args:
        labels: by mechanism, `models`, the metrics of each; those that are None are left out.
        directory: to write to.
    """
    for model in next(iter(labels.values()))["models"]:
        writer = tf.summary.create_file_writer(f"{directory}/{model}")
        with writer.as_default(step=0):
            for mechanism, found in labels.items():
                for metric in registered_metrics():
                    if (value := found["models"][model].get(metric)) is not None:
                        tf.summary.scalar(f"label_{mechanism}/{metric}", value)
        writer.close()
