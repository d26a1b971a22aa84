"""Tables of an evaluation's results, for the terminal and for Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from mal_tf.evaluation.judgement import detectable
from mal_tf.evaluation.metrics import registered_metrics
from mal_tf.evaluation.multiplicity import LEVEL
from pipelines.core.text_table import Table
from pipelines.evaluate.results import too_few_resamples


def overall(result: Mapping[str, Any]) -> list[Table]:
    """Build the tables of the models under the primary target's label, and of their differences.

    Args:
        result: the content of `metrics.json`.
    """
    return [_models(result, result["target"]), *_differences(result, [result["target"]])]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Build all tables: by label, by slice, and of calibration. Arguments as in `overall`."""
    shown = [_models(result, mechanism) for mechanism in result["labels"]]
    shown += _differences(result, list(result["labels"]))
    shown += [_slices(result, by) for by in dict.fromkeys(part["by"] for part in result["slices"])]
    return shown + [_calibration(model, curve) for model, curve in result["calibration"].items()]


def _models(result: Mapping[str, Any], mechanism: str) -> Table:
    rows, intervals, names = [], result["labels"][mechanism]["intervals"], registered_metrics()
    for model, values in result["labels"][mechanism]["models"].items():
        counts = [f"{values[key]:,}" for key in ("clicks", "positives")]
        rows.append([model, *counts, *(_number(values.get(metric), metric) for metric in names)])
        if ends := intervals.get(model):
            rows.append(["95% interval", "", "", *(_interval(ends.get(metric, {}), metric) for metric in names)])
    users = max(values["gauc_users"] for values in result["labels"][mechanism]["models"].values())
    return Table(
        f"{result['split']} split, label_{mechanism}" + (", the target" if mechanism == result["target"] else ""),
        ["model", "clicks", "positives", *map(_title, names)],
        rows,
        f"GAUC weighted by clicks, over {users:,} users with both classes; ties one half. Intervals over users."
        + "".join(f" {note}" for note in result.get("notes", ()) if f"label_{mechanism}:" in note),
    )


def _differences(result: Mapping[str, Any], mechanisms: Sequence[str]) -> list[Table]:
    rows = [
        [
            f"{mechanism}, minus {other}, {_title(metric)}",
            _difference(difference, metric),
            *_p(difference),
            _number(detectable(difference), metric),
        ]
        for mechanism in mechanisms
        for other, metrics in result["labels"][mechanism]["differences"].items()
        for metric, difference in metrics.items()
        if metric in registered_metrics()
    ]
    columns = ["label", "difference (95% interval over users)", "p", "adjusted p", "detectable"]
    return [Table(f"{result['served']} against the others", columns, rows, _method(result))] if rows else []


def _slices(result: Mapping[str, Any], by: str) -> Table:
    served, shown = result["served"], [name for name, one in registered_metrics().items() if one.shown_by_slice]
    parts = [part for part in result["slices"] if part["by"] == by]
    columns = [by, "clicks", "users", "positives", "growth", *(f"{served}: {_title(metric)}" for metric in shown)]
    compared = [
        (other, metric)
        for other, differences in parts[0]["differences"].items()
        for metric in shown
        if metric in differences and registered_metrics()[metric].headline
    ]
    columns += [f"Δ {_title(metric)} to {other}" for other, metric in compared]
    rows = []
    for part in parts:
        growth = "–" if part["growth"] is None else f"{part['growth']:.3f}"
        cells = [part["name"], f"{part['clicks']:,}", f"{part['users']:,}", f"{part['positives']:,}", growth]
        cells += [_number(part["models"][served].get(metric), metric) for metric in shown]
        for other, metric in compared:
            difference = part["differences"][other][metric]
            cells.append(_difference(difference, metric) + _mark(difference))
        rows.append(cells)
    note = (
        "Δ with 95% intervals over users; * p, adjusted for all metrics and slices of this kind, below 0.05."
        if compared
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


def _method(result: Mapping[str, Any]) -> str:
    samples = result["bootstrap"]["samples"]
    smallest = f"{2 / (samples + 1):.2g}"
    return (
        f"Paired bootstrap over users, {samples:,} resamples: p is {smallest} at least; no interval where a metric rests on "
        f"less than {result['bootstrap']['min_users']} users. Detectable: the true difference that this many users show in four "
        f"of five cases. {result['multiplicity']['family']}.{too_few_resamples(result)}"
    )


def _title(metric: str) -> str:
    return registered_metrics()[metric].title


def _number(value: float | None, metric: str) -> str:
    return "–" if value is None else f"{value:.{registered_metrics()[metric].digits}f}"


def _interval(interval: Mapping[str, float | None], metric: str) -> str:
    ends = [interval.get(key) for key in ("low", "high")]
    return "–" if None in ends else " … ".join(_number(end, metric) for end in ends)


def _difference(difference: Mapping[str, float | None], metric: str) -> str:
    if difference["difference"] is None:
        return "–"
    digits = registered_metrics()[metric].digits
    low, high = difference["low"], difference["high"]
    interval = "–" if low is None else f"{low:+.{digits}f} … {high:+.{digits}f}"
    return f"{difference['difference']:+.{digits}f} ({interval})"


def _p(difference: Mapping[str, float | None]) -> list[str]:
    return ["–" if difference[key] is None else f"{difference[key]:.3g}" for key in ("p", "adjusted_p")]


def _mark(difference: Mapping[str, float | None]) -> str:
    adjusted = difference["adjusted_p"]
    return "*" if adjusted is not None and adjusted < LEVEL else ""
