"""Metrics of a trial's predictions with bootstrap resamples, overall, by slice, and against the truth of a simulated market."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mal_tf.evaluation.bootstrap import Scored, resampled_together
from mal_tf.evaluation.judgement import differences
from mal_tf.evaluation.metrics import additive_metrics, metrics_or_nan
from pipelines.config.evaluation import GrowthConfig
from pipelines.studies.comparison.clicks import sliced

#: Slice of all clicks, and slice of all clicks in which the positives are those that caused a conversion.
ALL, CAUSED = "all", "caused"


def compared_metrics() -> list[str]:
    """Lists the metrics by which rows are compared, with intervals."""
    return [name for name, metric in additive_metrics().items() if metric.headline]


@dataclasses.dataclass(frozen=True)
class Judging:
    """Settings of an evaluation of predictions.

    Attributes:
        target: mechanism whose label is predicted.
        slices: names from `Comparison.slices`.
        growth: user groups of slices by information gain.
        caused: column with the number of conversions that a click caused, if known.
        samples: number of resamples.
        seed: random seed of the resamples.
        metrics: names of the metrics that are resampled.
    """

    target: str
    slices: tuple[str, ...]
    growth: GrowthConfig
    caused: str | None
    samples: int
    seed: int
    metrics: tuple[str, ...]


def judge(clicks: str, prediction: str, settings: Judging, output: str) -> dict[str, Any]:
    """Computes the metrics of predictions.

    Args:
        clicks: Parquet file with the result of `clicks.evaluated`.
        prediction: `.npy` file with predictions for the whole split, or a column of `clicks`.
        settings: settings of the evaluation.
        output: directory of the task; nothing is written to it.

    Returns:
        `metrics`, see `metrics_or_nan`; and `resampled`, lists of the values and resamples of each metric by kind and name of
        the slice.
    """
    frame = pd.read_parquet(clicks)
    user, label = frame["user"].to_numpy(), frame[f"label_{settings.target}"].to_numpy(np.float64)
    hashed = np.zeros(user.max(initial=-1) + 1, np.uint64)
    hashed[user] = frame["user_hash"].to_numpy()
    path = pathlib.Path(prediction)
    score = np.load(path)[frame["position"].to_numpy()] if path.suffix == ".npy" else frame[prediction].to_numpy()
    metrics = metrics_or_nan(user, label, score)
    parts = {(ALL, ALL): Scored(user, label, score)}
    if settings.caused:
        truth = (frame[settings.caused].to_numpy() > 0).astype(np.float64)
        parts[CAUSED, CAUSED] = Scored(user, truth, score)
    for by in settings.slices:
        for part in sliced(frame, by, settings.growth, label):
            parts[by, part.name] = Scored(user[part.chosen], label[part.chosen], score[part.chosen])
    by_kind: dict[str, dict] = {}
    for (kind, name), values in resampled_together(
        hashed, parts, settings.samples, settings.seed, settings.metrics
    ).items():
        by_kind.setdefault(kind, {})[name] = {metric: samples.tolist() for metric, samples in values.items()}
    return {"metrics": metrics, "resampled": by_kind}


def row(trials: Sequence[Mapping[str, Any]], against: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Computes a row of a table, that is means over seeds, and differences to another row.

    Args:
        trials: results of `judge` for each seed.
        against: results of the row that it is compared with, for each seed.

    Returns:
        `metrics`, the mean of each metric; `deviation`, the standard deviation of `compared_metrics` over seeds, null for a
        single seed; `differences`, by kind and name of the slice and by metric, see `judgement.differences`, with the mean of
        the metric as `value`; null if a slice has one class only.
    """
    metrics = [trial["metrics"] for trial in trials]
    compared: dict[str, dict] = {}
    for kind, parts in trials[0]["resampled"].items():
        for name in parts:
            ours, theirs = (
                [{metric: np.array(v) for metric, v in trial["resampled"][kind][name].items()} for trial in row_trials]
                for row_trials in (trials, against)
            )
            compared.setdefault(kind, {})[name] = {
                metric: {
                    key: known(value)
                    for key, value in {**difference, "value": float(np.mean([one[metric][0] for one in ours]))}.items()
                }
                for metric, difference in differences(theirs, ours).items()
            }
    return {
        "metrics": {key: known(float(np.mean([trial[key] for trial in metrics]))) for key in metrics[0]},
        "deviation": {
            key: known(float(np.std([trial[key] for trial in metrics], ddof=1))) if len(metrics) > 1 else None
            for key in trials[0]["resampled"][ALL][ALL]
        },
        "differences": compared,
    }


def known(value: float) -> float | None:
    """Returns the value of a metric, None where it has none."""
    return None if np.isnan(value) else value


def counts(clicks: str, target: str, slices: Sequence[str], growth: GrowthConfig) -> dict:
    """Counts the clicks, users and positives of each slice: `{kind: {name: {"clicks", "users", "positives", "growth"}}}`.

    `growth` is the ratio of the positives under `growth.wider` to those under `growth.narrower`, null if there are none.

    Args:
        clicks: as in `judge`.
        target: as in `judge`.
        slices: as in `judge`.
        growth: as in `judge`.
    """
    frame = pd.read_parquet(clicks)
    labels = {
        name.removeprefix("label_"): frame[name].to_numpy(np.float64) for name in frame if name.startswith("label_")
    }
    label = labels[target]
    by_kind: dict = {}
    for by in slices:
        for part in sliced(frame, by, growth, label):
            rows = frame[part.chosen]
            by_kind.setdefault(by, {})[part.name] = {
                "clicks": len(rows),
                "users": int(rows["user"].nunique()),
                "positives": int((label[part.chosen] > 0).sum()),
                "growth": part.growth(labels, growth),
            }
    return by_kind


def labels_and_causes(clicks: str, caused: str, mechanisms: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compares the positives of each mechanism with the clicks that caused a conversion.

    Args:
        clicks: as in `judge`.
        caused: as in `judge`.
        mechanisms: mechanisms whose labels are compared.

    Returns:
        By mechanism, the number of `positives`; `without_cause`, the share of positives that caused nothing; and
        `causes_found`, the share of causing clicks that are positive.
    """
    frame = pd.read_parquet(clicks)
    cause, by_mechanism = frame[caused] > 0, {}
    for name in mechanisms:
        positive = frame[f"label_{name}"] > 0
        by_mechanism[name] = {
            "positives": int(positive.sum()),
            "without_cause": float((positive & ~cause).sum() / max(positive.sum(), 1)),
            "causes_found": float((positive & cause).sum() / max(cause.sum(), 1)),
        }
    return by_mechanism
