"""Metrics of one trial's predictions and their resamples: overall, by slice, and against the truth of a simulated market."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.errors import MalTfError
from mal_tf.evaluation.bootstrap import Scored, resampled_together
from mal_tf.evaluation.judgement import differences
from mal_tf.evaluation.metrics import additive_metrics, all_metrics
from pipelines.config.evaluation import GrowthConfig
from pipelines.studies.comparison.clicks import sliced

#: The slice of all clicks, and the one whose positives are the clicks that caused a conversion.
ALL, CAUSED = "all", "caused"


def compared_metrics() -> list[str]:
    """The metrics that rows are compared by, with intervals."""
    return [name for name, metric in additive_metrics().items() if metric.headline]


@dataclasses.dataclass(frozen=True)
class Judging:
    """How predictions are judged.

    Attributes:
        target: mechanism whose label is the truth.
        slices: names of `Comparison.slices`.
        growth: of slices by information gain.
        caused: column of the clicks that says how many conversions a click caused, if known.
        samples: resamples.
        seed: of them.
        metrics: names of those that are resampled.
    """

    target: str
    slices: tuple[str, ...]
    growth: GrowthConfig
    caused: str | None
    samples: int
    seed: int
    metrics: tuple[str, ...]


def judge(clicks: str, prediction: str, how: Judging, output: str) -> dict[str, Any]:
    """Scores one set of predictions.

    Args:
        clicks: Parquet file of `clicks.evaluated`.
        prediction: `.npy` file of the whole split's predictions, or a column of `clicks`.
        how: they are judged.
        output: directory of the task; nothing is written to it.

    Returns:
        `metrics`: see `all_metrics`; `resampled`: by the slice's kind and its name, lists of what `resampled` gives.
    """
    frame = pd.read_parquet(clicks)
    user, label = frame["user"].to_numpy(), frame[f"label_{how.target}"].to_numpy(np.float64)
    hashed = np.zeros(user.max(initial=-1) + 1, np.uint64)
    hashed[user] = frame["user_hash"].to_numpy()
    path = pathlib.Path(prediction)
    score = np.load(path)[frame["position"].to_numpy()] if path.suffix == ".npy" else frame[prediction].to_numpy()
    try:
        metrics = all_metrics(user, label, score)
    except MalTfError as error:
        raise MalTfError(f"evaluation split, label_{how.target}: {error}") from error
    parts = {(ALL, ALL): Scored(user, label, score)}
    if how.caused:
        truth = (frame[how.caused].to_numpy() > 0).astype(np.float64)
        parts[CAUSED, CAUSED] = Scored(user, truth, score)
    for by in how.slices:
        for part in sliced(frame, by, how.growth, label):
            parts[by, part.name] = Scored(user[part.chosen], label[part.chosen], score[part.chosen])
    by_kind: dict[str, dict] = {}
    for (kind, name), values in resampled_together(hashed, parts, how.samples, how.seed, how.metrics).items():
        by_kind.setdefault(kind, {})[name] = {metric: of.tolist() for metric, of in values.items()}
    return {"metrics": metrics, "resampled": by_kind}


def row(of_seeds: Sequence[Mapping[str, Any]], against: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of a table: means over seeds, and differences to another row.

    Args:
        of_seeds: what `judge` returned for each seed.
        against: the same of the row that it is compared with.

    Returns:
        `metrics`: mean of each; `deviation`: standard deviation over seeds of `compared_metrics`, null for one seed;
        `differences`: by slice's kind, name and metric, see `judgement.differences`; with the metric itself, `value`;
        null where a slice has one class only.
    """
    metrics = [trial["metrics"] for trial in of_seeds]
    compared: dict[str, dict] = {}
    for kind, parts in of_seeds[0]["resampled"].items():
        for name in parts:
            ours, theirs = (
                [{metric: np.array(v) for metric, v in trial["resampled"][kind][name].items()} for trial in trials]
                for trials in (of_seeds, against)
            )
            compared.setdefault(kind, {})[name] = {
                metric: {
                    key: None if np.isnan(value) else value
                    for key, value in {**difference, "value": float(np.mean([one[metric][0] for one in ours]))}.items()
                }
                for metric, difference in differences(theirs, ours).items()
            }
    return {
        "metrics": {key: float(np.mean([trial[key] for trial in metrics])) for key in metrics[0]},
        "deviation": {
            key: float(np.std([trial[key] for trial in metrics], ddof=1)) if len(metrics) > 1 else None
            for key in of_seeds[0]["resampled"][ALL][ALL]
        },
        "differences": compared,
    }


def counts(clicks: str, target: str, slices: Sequence[str], growth: GrowthConfig) -> dict:
    """What is in each slice: `{kind: {name: {"clicks", "users", "positives", "growth"}}}`.

    `growth` is the positives of `growth.wider` over those of `growth.narrower`, null where there are none.

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
            chosen = frame[part.chosen]
            by_kind.setdefault(by, {})[part.name] = {
                "clicks": len(chosen),
                "users": int(chosen["user"].nunique()),
                "positives": int((label[part.chosen] > 0).sum()),
                "growth": part.growth(labels, growth),
            }
    return by_kind


def labels_and_causes(clicks: str, caused: str, mechanisms: Sequence[str]) -> dict[str, dict[str, float]]:
    """How a mechanism's positives and the clicks that caused a conversion go together.

    Args:
        clicks: as in `judge`.
        caused: as in `judge`.
        mechanisms: whose labels are looked at.

    Returns:
        By mechanism: `positives`; `without_cause`, the share of them that caused nothing; `causes_found`, the share of the
        causing clicks that are positive.
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
