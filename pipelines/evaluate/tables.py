"""An evaluation as tables for people."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.text_table import Table
from pipelines.evaluate.results import too_few_resamples

_NAMES = {"auc": "AUC", "gauc": "GAUC", "log_loss": "log-loss", "pcoc": "PCOC", "ece": "ECE"}
_DIGITS = {"pcoc": 3}


def overall(result: Mapping[str, Any]) -> list[Table]:
    """The models under the primary target's label, and their differences.

    Args:
        result: what `evaluate` returned.
    """
    return [_models(result, result["target"]), *_differences(result, [result["target"]])]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """All tables: by label, by slice, calibration; arguments as in `overall`."""
    made = [_models(result, mechanism) for mechanism in result["labels"]]
    made += _differences(result, list(result["labels"]))
    made += [_slices(result, by) for by in dict.fromkeys(part["by"] for part in result["slices"])]
    return made + [_calibration(model, curve) for model, curve in result["calibration"].items()]


def _models(result: Mapping[str, Any], mechanism: str) -> Table:
    rows, intervals = [], result["labels"][mechanism]["intervals"]
    for model, found in result["labels"][mechanism]["models"].items():
        counts = [f"{found[key]:,}" for key in ("clicks", "positives")]
        rows.append([model, *counts, *(_number(found[metric], metric) for metric in _NAMES)])
        if of_model := intervals.get(model):
            rows.append(["95% interval", "", "", *(_interval(of_model.get(metric, {}), metric) for metric in _NAMES)])
    users = max(found["gauc_users"] for found in result["labels"][mechanism]["models"].values())
    return Table(
        f"{result['split']} split, label_{mechanism}" + (", the target" if mechanism == result["target"] else ""),
        ["model", "clicks", "positives", *_NAMES.values()],
        rows,
        f"GAUC weighted by clicks, over {users:,} users with both classes; ties one half. Intervals over users.",
    )


def _differences(result: Mapping[str, Any], mechanisms: Sequence[str]) -> list[Table]:
    rows = [
        [f"{mechanism}, minus {other}, {_NAMES[metric]}", _difference(found, metric), *_p(found)]
        for mechanism in mechanisms
        for other, metrics in result["labels"][mechanism]["differences"].items()
        for metric, found in metrics.items()
    ]
    columns = ["label", "difference (95% interval over users)", "p", "adjusted p"]
    return [Table(f"{result['served']} against the others", columns, rows, _how(result))] if rows else []


def _slices(result: Mapping[str, Any], by: str) -> Table:
    served = result["served"]
    parts = [part for part in result["slices"] if part["by"] == by]
    others = list(parts[0]["differences"])
    rows = []
    for part in parts:
        growth = "–" if part["growth"] is None else f"{part['growth']:.3f}"
        cells = [part["name"], f"{part['clicks']:,}", f"{part['users']:,}", f"{part['positives']:,}", growth]
        cells += [_number(part["models"][served][metric], metric) for metric in ("auc", "gauc", "pcoc")]
        for other in others:
            for metric in ("auc", "gauc"):
                found = part["differences"][other][metric]
                cells.append(_difference(found, metric) + _mark(found))
        rows.append(cells)
    columns = [
        by,
        "clicks",
        "users",
        "positives",
        "growth",
        *(f"{served}: {_NAMES[m]}" for m in ("auc", "gauc", "pcoc")),
    ]
    columns += [f"Δ {_NAMES[metric]} to {other}" for other in others for metric in ("auc", "gauc")]
    note = (
        "Δ with 95% intervals over users; * p, adjusted for all metrics and slices of this kind, below 0.05."
        if others
        else ""
    )
    return Table(f"{result['split']} split, label_{result['target']}, by {by}", columns, rows, note)


def _calibration(model: str, curve: Sequence[Mapping[str, float]]) -> Table:
    rows = []
    for number, part in enumerate(curve, 1):
        observed = f"{part['observed']:.5f} ({part['low']:.5f} … {part['high']:.5f})"
        rows.append([str(number), f"{part['clicks']:,}", f"{part['predicted']:.5f}", observed])
    columns = ["bin", "clicks", "mean prediction", "mean label (95% interval over users)"]
    return Table(f"Calibration of {model}", columns, rows, "Bins of equal mass, by the prediction.")


def _how(result: Mapping[str, Any]) -> str:
    samples = result["bootstrap"]["samples"]
    smallest = f"{2 / (samples + 1):.2g}"
    return (
        f"Paired bootstrap over users, {samples:,} resamples: p is {smallest} at least; no interval where a metric rests on "
        f"less than {result['bootstrap']['min_users']} users. {result['multiplicity']['family']}.{too_few_resamples(result)}"
    )


def _number(value: float | None, metric: str) -> str:
    return "–" if value is None else f"{value:.{_DIGITS.get(metric, 4)}f}"


def _interval(found: Mapping[str, float | None], metric: str) -> str:
    ends = [found.get(key) for key in ("low", "high")]
    return "–" if None in ends else " … ".join(_number(end, metric) for end in ends)


def _difference(found: Mapping[str, float | None], metric: str) -> str:
    if found["difference"] is None:
        return "–"
    digits = _DIGITS.get(metric, 4)
    known = "–" if found["low"] is None else f"{found['low']:+.{digits}f} … {found['high']:+.{digits}f}"
    return f"{found['difference']:+.{digits}f} ({known})"


def _p(found: Mapping[str, float | None]) -> list[str]:
    return ["–" if found[key] is None else f"{found[key]:.3g}" for key in ("p", "adjusted_p")]


def _mark(found: Mapping[str, float | None]) -> str:
    return "*" if (found["adjusted_p"] if found["adjusted_p"] is not None else math.inf) < 0.05 else ""
