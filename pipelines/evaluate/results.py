"""The content of `metrics.json`, from metrics and resamples of either engine."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.evaluation.bootstrap import MIN_USERS
from mal_tf.evaluation.judgement import Resampled, differences, interval
from mal_tf.evaluation.metric import Metric
from mal_tf.evaluation.multiplicity import holm, resamples_needed
from pipelines.core import files

#: What metrics are over; a slice has its own.
_COUNTS = ("clicks", "positives", "gauc_users")

_FAMILY = (
    "Holm's adjustment is over the differences of all metrics and other models, apart for each table: under all labels "
    "together, and by each kind of slice"
)


def not_of_rank(metrics: Iterable[Metric]) -> list[str]:
    """Names of the metrics that compare predictions with the share of positives."""
    return [metric.name for metric in metrics if not metric.ranking]


def result(
    primary: str,
    split: str,
    served: str,
    labels: Mapping[str, Mapping[str, Any]],
    kinds: Sequence[Sequence[Mapping[str, Any]]],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """What `metrics.json` holds; see `docs/evaluation.md`. Adds `adjusted_p` to the differences.

    Args:
        primary: mechanism of the primary target.
        split: whose clicks.
        served: the model that others are compared with.
        labels: by mechanism, `models` (metrics of each), what `compared` returned, and `calibration` (a curve by model).
        kinds: the slices of each kind, see `slice_entry`.
        samples: resamples of the users.
        seed: of them.
    """
    families = [labels.values(), *kinds]
    sizes = [_adjust(entry["differences"] for entry in family) for family in families]
    return {
        "target": primary,
        "split": split,
        "served": served,
        **labels[primary],
        "labels": labels,
        "slices": [entry for entries in kinds for entry in entries],
        "bootstrap": {"samples": samples, "seed": seed, "unit": "user", "min_users": MIN_USERS},
        "multiplicity": {
            "method": "holm",
            "family": _FAMILY,
            "comparisons": sum(sizes),
            "largest_family": max(sizes),
        },
    }


def too_few_resamples(result: Mapping[str, Any]) -> str:
    """A warning if a result's largest family has so many comparisons that none could be significant; else empty."""
    largest = result["multiplicity"].get("largest_family", 0)
    if result["bootstrap"]["samples"] >= (needed := resamples_needed(largest)):
        return ""
    return (
        f" A family has {largest:,} comparisons, too many for so few resamples to show any: "
        f"set evaluation.bootstrap_samples to {needed:,} or more."
    )


def compared(drawn: Mapping[str, Resampled], served: str) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Intervals of each model, and differences between models, from their resamples.

    Returns:
        `intervals`: by model and metric, `low` and `high`; `differences`: of the served model minus each other, see
        `mal_tf.evaluation.judgement.differences`.
    """
    intervals = {
        model: {
            metric: dict(zip(("low", "high"), map(float, interval(values[1:])), strict=True))
            for metric, values in resampled.items()
        }
        for model, resampled in drawn.items()
    }
    others = {model: resampled for model, resampled in drawn.items() if model != served}
    return {
        "intervals": intervals,
        "differences": {model: differences([resampled], [drawn[served]]) for model, resampled in others.items()},
    }


def slice_entry(by: str, name: str, users: int, growth: float | None, compared: Mapping[str, Any]) -> dict[str, Any]:
    """A slice in `metrics.json`.

    Args:
        by: what it is by.
        name: of the slice.
        users: in it.
        growth: positives of a wider mechanism over those of a narrower one, None if unknown.
        compared: `models` (metrics of each under the primary target's label), and what the function `compared` returned.
    """
    first = next(iter(compared["models"].values()))
    return {
        "by": by,
        "name": name,
        "clicks": first["clicks"],
        "users": users,
        "positives": first["positives"],
        "growth": growth,
        "models": {
            model: {name: value for name, value in of.items() if name not in _COUNTS}
            for model, of in compared["models"].items()
        },
        "intervals": compared["intervals"],
        "differences": compared["differences"],
    }


def write(path: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a result, with null for what is not finite; returns what was written."""
    text = json.dumps(_plain(result), indent=1, allow_nan=False)
    files.write_text(path, text + "\n")
    return json.loads(text)


def _adjust(family: Iterator[Mapping[str, Mapping[str, dict[str, float]]]]) -> int:
    """Adds `adjusted_p` to a family's differences, by model and metric; returns how many have a p-value."""
    tests = [test for differences in family for by_metric in differences.values() for test in by_metric.values()]
    for test, adjusted in zip(tests, holm(np.array([test["p"] for test in tests])), strict=True):
        test["adjusted_p"] = float(adjusted)
    return sum(not math.isnan(test["p"]) for test in tests)


def _plain(value: Any) -> Any:
    """The same with None for numbers that are not finite, which JSON cannot represent."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
