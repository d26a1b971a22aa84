"""Text tables of the results of a comparison, modelled on those of the papers, with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mal_tf.evaluation.bootstrap import MIN_USERS
from mal_tf.evaluation.metrics import Auc, Gauc, additive_metrics, registered_metrics
from pipelines.config.evaluation import INFORMATION_GAIN
from pipelines.core.text_table import Table
from pipelines.studies.comparison.judge import ALL, CAUSED

#: Metric by which slices are compared if it is not AUC. Slices of users are compared by GAUC, slices of clicks by AUC.
_SLICE_METRIC = {INFORMATION_GAIN: Gauc.name}


def tables(result: dict[str, Any]) -> list[Table]:
    """Builds the tables from the result of `run.run`."""
    built = [_labels(result["labels"])]
    if result["causes"]:
        built.append(_causes(result["causes"]))
    if result["tuning"]:
        built.append(_tuning(result["tuning"]))
    for comparison in result["comparisons"]:
        for primary in dict.fromkeys(row["primary"] for row in comparison["rows"]):
            rows = [row for row in comparison["rows"] if row["primary"] == primary]
            built.append(_models(result, comparison, primary, rows))
            built += [_choice(comparison, primary, row) for row in rows if row["choice"]]
            built += [_slices(result, comparison, primary, kind, rows) for kind in comparison["slices"][primary]]
    return built


def _labels(report: dict[str, Any]) -> Table:
    columns = ["mechanism"]
    for split in report["splits"]:
        columns += [f"{split}: positives", f"relative to {report['ratio_to']}", "Σ credit"]
    rows = []
    for name in report["cat_bits"]:
        cells = [name]
        for split in report["splits"].values():
            counts = split["mechanisms"][name]
            cells += [f"{counts['positives']:,}", number(counts["ratio"], 3), f"{counts['credit']:,.1f}"]
        rows.append(cells)
    clicks = ", ".join(f"{name} {split['clicks']:,}" for name, split in report["splits"].items())
    return Table("Labels", columns, rows, f"Clicks: {clicks}.")


def _causes(causes: dict[str, dict]) -> Table:
    rows = [
        [name, f"{shares['positives']:,}", number(shares["without_cause"], 3), number(shares["causes_found"], 3)]
        for name, shares in causes.items()
    ]
    return Table(
        "Labels and causes, evaluation split",
        ["mechanism", "positives", "share that caused nothing", "share of the causing clicks found"],
        rows,
    )


def _tuning(tuning: dict[str, dict]) -> Table:
    rates = list(next(iter(tuning.values()))["auc"])
    rows = [
        [model, *(number(tuned["auc"][r], 4) for r in rates), f"{tuned['learning_rate']:g}"]
        for model, tuned in tuning.items()
    ]
    trainings = next(iter(tuning.values()))["trainings"]
    means = "one training each" if trainings == 1 else f"means over {trainings} trainings"
    return Table(
        "Learning rate of each model",
        ["model", *(f"AUC at {float(rate):g}" for rate in rates), "taken"],
        rows,
        f"AUC on the segments held out of the training split; {means}. {_at_an_edge(tuning, rates)}",
    )


def _at_an_edge(tuning: dict[str, dict], rates: Sequence[str]) -> str:
    tried = sorted(map(float, rates))
    models = [model for model, tuned in tuning.items() if tuned["learning_rate"] in (tried[0], tried[-1])]
    return f"Best at an edge of what was tried: {', '.join(models)}." if models else "No model is best at an edge."


def _models(result: dict[str, Any], comparison: dict, primary: str, rows: Sequence[dict]) -> Table:
    against, has_truth = comparison["against"], CAUSED in rows[0]["differences"]
    compared_by: list = []
    levels: list = []
    for name, metric in additive_metrics().items():
        (compared_by if name in rows[0]["deviation"] else levels).append(metric)
    columns = ["model", *(column for one in compared_by for column in (one.title, f"Δ {one.title} to {against}"))]
    columns += [one.title for one in levels] + (["AUC of cause", f"Δ to {against}"] if has_truth else [])
    columns += ["learning rate", "parameters", "examples/s"]
    lines: list = []
    compared: list = []
    for row in rows:
        overall, metrics, spread = row["differences"][ALL][ALL], row["metrics"], row["deviation"]
        cells = [_label(row)]
        for one in compared_by:
            cells += [
                _spread(metrics[one.name], spread[one.name]),
                difference(overall[one.name], row["row"] == against),
            ]
        cells += [number(metrics.get(one.name), one.digits) for one in levels]
        if has_truth:
            cause = row["differences"][CAUSED][CAUSED][Auc.name]
            cells += [number(cause["value"], 4), difference(cause, row["row"] == against)]
            overall = overall | {"cause": cause}
        compared += overall.values() if row["row"] != against else ()
        rate = row["examples_per_second"]
        cells += [f"{row['learning_rate']:g}", f"{row['parameters']:,}", "–" if rate is None else f"{rate:,.0f}"]
        lines.append(cells)
    for column, oracle in result["oracles"].get(primary, {}).items():
        numbers = [cell for one in compared_by for cell in (number(oracle.get(one.name), one.digits), "")]
        numbers += [number(oracle.get(one.name), one.digits) for one in levels]
        lines.append([f"truth: {column}", *numbers, number(oracle["caused_auc"], 4), "", "", "", ""])
    metrics = rows[0]["metrics"]
    return Table(
        f"{comparison['name']}: primary target {primary}",
        columns,
        lines,
        f"{metrics['clicks']:,.0f} clicks, {metrics['positives']:,.0f} positives; GAUC over {metrics['gauc_users']:,.0f} users. "
        + _how(result, compared),
    )


def _choice(comparison: dict, primary: str, row: dict) -> Table:
    gains = row["choice"]["gains"]
    lines = [
        [name, *(f"{100 * gain[key]:+.3f}%" for key in ("gain", "low", "high")), "yes" if gain["chosen"] else "no"]
        for name, gain in gains.items()
    ]
    return Table(
        f"{comparison['name']}: primary target {primary}, what {row['row']} chose by",
        ["auxiliary", "fall of the primary's loss", "low", "high", "chosen"],
        lines,
        "Beside the ones chosen above it, on batches before their own step; see mal_tf/training/auxiliaries.py. One seed.",
    )


def _slices(result: dict[str, Any], comparison: dict, primary: str, kind: str, rows: Sequence[dict]) -> Table:
    metric, against = _SLICE_METRIC.get(kind, Auc.name), comparison["against"]
    title = registered_metrics()[metric].title
    others = [row for row in rows if row["row"] != against]
    base = next(row for row in rows if row["row"] == against)
    lines, compared = [], []
    for name, part in comparison["slices"][primary][kind].items():
        counts = [f"{part['clicks']:,}", f"{part['users']:,}", f"{part['positives']:,}", number(part["growth"], 3)]
        compared += (cells := [row["differences"][kind][name][metric] for row in others])
        differences = [difference(one) for one in cells]
        lines.append([name, *counts, number(base["differences"][kind][name][metric]["value"], 4), *differences])
    columns = [kind, "clicks", "users", "positives", "growth in positives", f"{against}: {title}"]
    return Table(
        f"{comparison['name']}: primary target {primary}, Δ {title} by {kind}",
        columns + [_label(row) for row in others],
        lines,
        _how(result, compared),
    )


def _how(result: dict[str, Any], compared: Sequence[dict]) -> str:
    """Describes how the differences of a table were judged."""
    intervals = sum(one["low"] is not None for one in compared)
    few = f" None where less than {MIN_USERS} users carry the metric." if intervals < len(compared) else ""
    seeds = len(result["seeds"])
    kinds = f"Means over {seeds} seeds, ± their standard deviation. " if seeds > 1 else "One seed. "
    return (
        f"{kinds}In brackets: 95% interval of the difference of means, paired bootstrap over users and over trainings "
        f"({result['bootstrap_samples']:,} resamples).{few} With {intervals} such intervals, {math.ceil(intervals * 0.05)} that "
        "miss 0 would be no surprise."
    )


def _label(row: dict) -> str:
    """Returns the name of a row, with the chosen auxiliaries if any."""
    return f"{row['row']}: {', '.join(row['choice']['auxiliaries']) or 'none'}" if row["choice"] else row["row"]


def number(value: float | None, digits: int) -> str:
    """Formats a metric, with a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _spread(mean: float | None, deviation: float | None) -> str:
    return number(mean, 4) if mean is None or deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def difference(cell: Mapping[str, Any], is_reference: bool = False) -> str:
    """Formats a difference and its interval, with dashes for none and for the reference itself."""
    if is_reference or cell["difference"] is None:
        return "–"
    interval = "–" if cell["low"] is None else f"{cell['low']:+.4f} … {cell['high']:+.4f}"
    return f"{cell['difference']:+.4f} ({interval})"
