"""Assembles the content of `metrics.json` from metrics and resamples, for the local and the distributed evaluation."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.evaluation.bootstrap import MIN_USERS
from mal_tf.evaluation.judgement import Resampled, differences, interval
from mal_tf.evaluation.metric import Metric
from mal_tf.evaluation.metrics import registered_metrics
from mal_tf.evaluation.multiplicity import holm, resamples_needed
from pipelines.core import files

#: Counts among a model's metrics, which are left out of a slice's metrics as its entry has counts of its own.
_COUNTS = ("clicks", "positives", "gauc_users")

_FAMILY = (
    "Holm's adjustment is over the differences of all metrics and other models, apart for each table: under all labels "
    "together, and by each kind of slice"
)


def non_ranking(metrics: Iterable[Metric]) -> list[str]:
    """Return the names of the metrics that are not ranking metrics: they depend on the share of positives."""
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
    """Return the content of `metrics.json`, and add `adjusted_p` to the differences.

    Args:
        primary: mechanism of the primary target.
        split: the split whose clicks were evaluated.
        served: the model that others are compared with.
        labels: by mechanism, `models` (the metrics of each), the results of `compared`, and `calibration` (a curve by model).
        kinds: for each kind of slice, its slices; see `slice_entry`.
        samples: number of resamples of the users.
        seed: seed of the resamples.
    """
    families = [labels.values(), *kinds]
    sizes = [_adjust(entry["differences"] for entry in family) for family in families]
    return {
        "target": primary,
        "split": split,
        "served": served,
        **labels[primary],
        "notes": [note for name, of in labels.items() for note in undefined(split, name, of["models"])],
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


def undefined(split: str, label: str, models: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a note on the metrics that have no value under a label, with what they need; empty if there are none."""
    registered = registered_metrics()
    names = [name for name in registered if any(not math.isfinite(of.get(name, 0.0)) for of in models.values())]
    if not names:
        return []
    first = next(iter(models.values()))
    needs = ", ".join(f"{registered[name].title} ({registered[name].needs})" for name in names)
    return [
        f"{split} split, label_{label}: no value of {needs}; found {first['positives']:,} positives among "
        f"{first['clicks']:,} clicks. Evaluate on more data or another target."
    ]


def too_few_resamples(result: Mapping[str, Any]) -> str:
    """Return a warning if the largest family has too many comparisons for any to be significant, else an empty string."""
    largest = result["multiplicity"].get("largest_family", 0)
    if result["bootstrap"]["samples"] >= (needed := resamples_needed(largest)):
        return ""
    return (
        f" A family has {largest:,} comparisons, too many for so few resamples to show any: "
        f"set evaluation.bootstrap_samples to {needed:,} or more."
    )


def compared(drawn: Mapping[str, Resampled], served: str) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Compute intervals of each model, and differences between models, from their resamples.

    Returns:
        `intervals`: `low` and `high`, by model and metric. `differences`: the served model minus each of the others, see
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
    """Return the entry of a slice in `metrics.json`.

    Args:
        by: kind of slice.
        name: name of the slice.
        users: number of users in it.
        growth: positives of a wider mechanism over those of a narrower one, None if unknown.
        compared: `models` (the metrics of each under the primary target's label), and the results of the function `compared`.
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
            model: {name: value for name, value in metrics.items() if name not in _COUNTS}
            for model, metrics in compared["models"].items()
        },
        "intervals": compared["intervals"],
        "differences": compared["differences"],
    }


def write(path: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result as JSON, with null for numbers that are not finite, and return it as it was written."""
    text = json.dumps(_finite_json(result), indent=1, allow_nan=False)
    files.write_text(path, text + "\n")
    return json.loads(text)


def _adjust(family: Iterator[Mapping[str, Mapping[str, dict[str, float]]]]) -> int:
    """Add `adjusted_p` to a family's differences, by model and metric, and return how many have a p-value."""
    tests = [test for differences in family for by_metric in differences.values() for test in by_metric.values()]
    for test, adjusted in zip(tests, holm(np.array([test["p"] for test in tests])), strict=True):
        test["adjusted_p"] = float(adjusted)
    return sum(not math.isnan(test["p"]) for test in tests)


def _finite_json(value: Any) -> Any:
    """Return the value with None for numbers that are not finite, which JSON cannot represent."""
    if isinstance(value, Mapping):
        return {key: _finite_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
