"""A comparison (`mal-tf benchmark`), where the directory holds one: its tables, and its differences drawn."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture
from pipelines.report.source import RunFiles

SOURCE = "results.json"

#: Stands for all clicks among the kinds of slices, and among the slices of that kind.
_ALL = "all"


def found(run: RunFiles) -> dict[str, Any] | None:
    """What the comparison found; None where the run is none, or did not end."""
    return run.json(SOURCE) if run.has(SOURCE) and run.has("benchmark.json") else None


def parts(run: RunFiles) -> list[Part]:
    """The section; nothing where the run is no comparison."""
    result = found(run)
    if result is None:
        return []
    from pipelines.comparison.report import tables

    first, *others = (Numbers(table, SOURCE) for table in tables(result)[1:])  # The labels have a section of their own.
    return [*_pictures(result), first, Folded(f"{len(others)} more tables, slices among them", others)]


def _pictures(result: Mapping[str, Any]) -> Iterator[Part]:
    for comparison in result["comparisons"]:
        against = comparison["against"]
        for primary in dict.fromkeys(row["primary"] for row in comparison["rows"]):
            rows = [row for row in comparison["rows"] if row["primary"] == primary and row["row"] != against]
            drawn = [
                (
                    row["row"],
                    {text.METRICS[metric]: row["differences"][_ALL][_ALL][metric] for metric in ("gauc", "auc")},
                )
                for row in rows
            ]
            if not drawn:
                continue
            told = "; ".join(
                f"{name}: {metric} {text.difference(one['difference'])} ({text.interval(one)})"
                for name, of_row in drawn
                for metric, one in of_row.items()
            )
            yield Picture(
                plots.forest(drawn, f"minus {against}", "better"),
                f"{comparison['name']}, primary target {primary}",
                f"Differences from {against}. {told}",
                f"Means over {len(result['seeds'])} seeds, minus those of {against}; 95% intervals over users and trainings; "
                "hollow where the interval holds 0.",
                SOURCE,
            )
