"""What `metrics.json` holds, from metrics and resamples wherever they were made."""

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
        labels: by mechanism, `models`, metrics of each, what `compared` returned, and `calibration`, a curve by model.
        kinds: slices, see `slice_entry`, of each kind.
        samples: resamples of the users.
        seed: of them.
    """
    families = [labels.values(), *kinds]
    sizes = [_adjusted(one["differences"] for one in family) for family in families]
    return {
        "target": primary,
        "split": split,
        "served": served,
        **labels[primary],
        "labels": labels,
        "slices": [part for of_kind in kinds for part in of_kind],
        "bootstrap": {"samples": samples, "seed": seed, "unit": "user", "min_users": MIN_USERS},
        "multiplicity": {
            "method": "holm",
            "family": _FAMILY,
            "comparisons": sum(sizes),
            "largest_family": max(sizes),
        },
    }


def too_few_resamples(found: Mapping[str, Any]) -> str:
    """A sentence where a result's largest family has more comparisons than its resamples can show any of; else nothing."""
    largest = found["multiplicity"].get("largest_family", 0)
    if found["bootstrap"]["samples"] >= (needed := resamples_needed(largest)):
        return ""
    return (
        f" A family has {largest:,} comparisons, too many for so few resamples to show any: "
        f"set evaluation.bootstrap_samples to {needed:,} or more."
    )


def compared(drawn: Mapping[str, Resampled], served: str) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """What resamples by model say.

    Returns:
        `intervals`: by model and metric, `low` and `high`; `differences`: of the served model minus each other, see
        `mal_tf.evaluation.judgement.differences`.
    """
    intervals = {
        model: {
            metric: dict(zip(("low", "high"), map(float, interval(values[1:])), strict=True))
            for metric, values in of.items()
        }
        for model, of in drawn.items()
    }
    others = {model: of for model, of in drawn.items() if model != served}
    return {
        "intervals": intervals,
        "differences": {model: differences([of], [drawn[served]]) for model, of in others.items()},
    }


def slice_entry(by: str, name: str, users: int, growth: float | None, found: Mapping[str, Any]) -> dict[str, Any]:
    """A slice in `metrics.json`.

    Args:
        by: what it is by.
        name: of the slice.
        users: in it.
        growth: positives of a wider mechanism over those of a narrower one, None if not known.
        found: `models`, metrics of each under the primary target's label, and what `compared` returned.
    """
    first = next(iter(found["models"].values()))
    return {
        "by": by,
        "name": name,
        "clicks": first["clicks"],
        "users": users,
        "positives": first["positives"],
        "growth": growth,
        "models": {
            model: {name: value for name, value in of.items() if name not in _COUNTS}
            for model, of in found["models"].items()
        },
        "intervals": found["intervals"],
        "differences": found["differences"],
    }


def write(path: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a result, with null for what is not finite; returns what was written."""
    text = json.dumps(_plain(found), indent=1, allow_nan=False)
    files.write_text(path, text + "\n")
    return json.loads(text)


def _adjusted(family: Iterator[Mapping[str, Mapping[str, dict[str, float]]]]) -> int:
    """Adds `adjusted_p` to a family's differences, by model and metric; how many there are."""
    tests = [found for differences in family for of_model in differences.values() for found in of_model.values()]
    for found, adjusted in zip(tests, holm(np.array([found["p"] for found in tests])), strict=True):
        found["adjusted_p"] = float(adjusted)
    return sum(not math.isnan(found["p"]) for found in tests)


def _plain(value: Any) -> Any:
    """The same with None for what is not finite, as JSON has no word for it."""
    if isinstance(value, Mapping):
        return {key: _plain(of) for key, of in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
