"""Tables and figure of a grid: the gain of each model against the growth of the positives, with intervals."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from mal_tf.evaluation.metrics import Auc, additive_metrics
from pipelines.core.layout import GROWTH
from pipelines.core.text_table import Table
from pipelines.studies.comparison.judge import ALL, CAUSED
from pipelines.studies.comparison.report import difference, number
from pipelines.studies.figures import save, styled

#: Marks of the rows in the figure.
_MARKS = "osD^vP*X"


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Builds a table for each comparison and primary target.

    Args:
        result: what `pipelines.studies.grid.run.run` returned.
    """
    first = result["markets"][0]["comparisons"]
    return [
        _table(result, place, primary)
        for place, comparison in enumerate(first)
        for primary in dict.fromkeys(row["primary"] for row in comparison["rows"])
    ]


def _table(result: Mapping[str, Any], place: int, primary: str) -> Table:
    named = result["markets"][0]["comparisons"][place]
    against, compared = named["against"], list(named["rows"][0]["deviation"])
    titles = [metric.title for name, metric in additive_metrics().items() if name in compared]
    columns = ["market", "train positives", "growth", "journeys of 2+", "model", "rate"]
    columns += [f"Δ {title} to {against}" for title in titles] + ["PCOC", "Δ AUC of cause"]
    lines = []
    for market in result["markets"]:
        facts = market["labels"]
        named_by = [
            f"{market['group']}, {market['name']}",
            f"{facts['positives']:,}",
            number(facts["growth"], 2),
            "–" if facts["longer_journeys"] is None else f"{facts['longer_journeys']:.0%}",
        ]
        for row in _rows(market["comparisons"][place], primary):
            overall = row["differences"][ALL][ALL]
            differences = [difference(overall[name]) for name in additive_metrics() if name in compared]
            cause = difference(row["differences"][CAUSED][CAUSED][Auc.name])
            model = row["row"], f"{row['learning_rate']:g}"
            lines.append([*named_by, *model, *differences, number(row["metrics"].get("pcoc"), 2), cause])
    if all(line[-1] == "–" for line in lines):  # Clicks caused nothing in these markets.
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    seeds = len(result["seeds"])
    means = "One seed" if seeds == 1 else f"Means over {seeds} seeds"
    return Table(
        f"{named['name']}: primary target {primary}",
        columns,
        lines,
        f"{means}. In brackets: 95% interval, paired bootstrap over users and over trainings "
        f"({result['bootstrap_samples']:,} resamples), not corrected for the number of rows.",
    )


def _rows(comparison: Mapping[str, Any], primary: str) -> list[dict]:
    return [row for row in comparison["rows"] if row["primary"] == primary and row["row"] != comparison["against"]]


def figure(result: Mapping[str, Any], directory: str) -> str:
    """Draws the differences in AUC of the first comparison's first primary target against the growth, a panel per group.

    Args:
        result: what `pipelines.studies.grid.run.run` returned.
        directory: directory to write to.

    Returns:
        Path of the file.
    """
    groups = list(dict.fromkeys(market["group"] for market in result["markets"]))
    named = result["markets"][0]["comparisons"][0]
    primary = named["rows"][0]["primary"]
    points: dict[str, dict[str, list]] = {}
    for market in result["markets"]:
        for row in _rows(market["comparisons"][0], primary):
            cell = row["differences"][ALL][ALL][Auc.name]
            if None not in (cell["difference"], cell["low"], cell["high"], market["labels"]["growth"]):
                by_group = points.setdefault(row["row"], {group: [] for group in groups})
                by_group[market["group"]].append((market["labels"]["growth"], cell))
    with styled("grid"):
        drawn = Figure(figsize=(max(2.4 * len(groups) + 0.8, 7), 3.2), layout="constrained")
        axes = drawn.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axis, group in zip(axes, groups, strict=True):
            axis.axhline(0, color="black", linewidth=0.5)
            axis.set_title(group)
            axis.set_xlabel("growth of the positives")
            for place, (name, by_group) in enumerate(points.items()):
                cells = by_group[group]
                shift = 1 + 0.012 * (place - len(points) / 2)  # So that intervals don't cover each other.
                growth = [one * shift for one, _ in cells]
                middle = [cell["difference"] for _, cell in cells]
                ends = [
                    [cell["difference"] - cell["low"] for _, cell in cells],
                    [cell["high"] - cell["difference"] for _, cell in cells],
                ]
                axis.errorbar(
                    growth, middle, ends, fmt=_MARKS[place % len(_MARKS)], markersize=3, linewidth=0.8, label=name
                )
        axes[0].set_ylabel(f"AUC, difference to {named['against']}")
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return save(drawn, f"{directory}/{GROWTH}")
