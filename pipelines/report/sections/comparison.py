"""A comparison (`mal-tf benchmark`), where the directory holds one: its tables, and its differences drawn."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.evaluation.judgement import reading
from mal_tf.evaluation.metrics import Gauc
from mal_tf.evaluation.multiplicity import holm, resamples_needed
from pipelines.core.text_table import Table
from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, Reading, Verdict
from pipelines.report.run_files import RunFiles

SOURCE = "results.json"

#: The metric that verdicts are by.
_VERDICT = Gauc.name

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
    from pipelines.studies.comparison.report import tables

    first, *others = (Numbers(table, SOURCE) for table in tables(result)[1:])  # The labels have a section of their own.
    return [*_pictures(result), first, Folded(f"{len(others)} more tables, slices among them", others)]


def verdicts(run: RunFiles) -> list[Part]:
    """A line for each comparison and primary target: what gains, what loses, what shows no difference.

    Holm's adjustment is over all rows of all lines.
    """
    result = found(run)
    if result is None:
        return []
    built: list[Part] = []
    groups = list(_groups(result))
    how = _corrected(
        [differences[_VERDICT] for *_, rows in groups for differences in rows.values()], result["bootstrap_samples"]
    )
    for title, against, rows in groups:
        found_of = {name: reading(_VERDICT, differences[_VERDICT]) for name, differences in rows.items()}
        readings: dict[str, str] = {name: side if sure else "open" for name, (side, sure) in found_of.items()}
        readings |= {name: "few" for name, differences in rows.items() if differences[_VERDICT]["low"] is None}
        words = {"better": "better", "worse": "worse", "open": "no difference shown", "few": "too few users to tell"}
        of = {side: [name for name in readings if readings[name] == side] for side in words}
        said = "; ".join(f"{words[side]}: {', '.join(names)}" for side, names in of.items() if names)
        gains = (of["better"], of["worse"])
        side: Reading = "better" if gains[0] and not gains[1] else "worse" if gains[1] and not gains[0] else "open"
        facts = [f"{name} {text.with_interval(differences['gauc'])}" for name, differences in rows.items()]
        built.append(Verdict(side, f"{title}, {Gauc.title} against {against}{how}: {said}.", SOURCE, facts))
    return built


def _corrected(judged: Sequence[dict[str, Any]], samples: int) -> str:
    """Adds `adjusted_p` to differences; how they were corrected."""
    p = np.array([math.nan if one.get("p") is None else one["p"] for one in judged])
    for one, adjusted in zip(judged, holm(p), strict=True):
        one["adjusted_p"] = None if math.isnan(adjusted) else float(adjusted)
    if any(one.get("low") is not None and one.get("p") is None for one in judged):
        return ", not corrected for how many there are, as an earlier version of mal-tf compared them"
    count = int(np.count_nonzero(~np.isnan(p)))
    said = f", p corrected for {count} comparisons" if count > 1 else ""
    if samples >= (needed := resamples_needed(count)):
        return said
    return f"{said}, for which {samples:,} resamples are too few to show any (bootstrap_samples: {needed:,} are enough)"


def _groups(result: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, dict]]]:
    """Of each comparison and primary target: title, what is compared with, and the differences of each other row."""
    for comparison in result["comparisons"]:
        against = comparison["against"]
        for primary in dict.fromkeys(row["primary"] for row in comparison["rows"]):
            rows = {
                row["row"]: row["differences"][_ALL][_ALL]
                for row in comparison["rows"]
                if row["primary"] == primary and row["row"] != against
            }
            if rows:
                yield f"{comparison['name']}, primary target {primary}", against, rows


def _pictures(result: Mapping[str, Any]) -> Iterator[Part]:
    for title, against, rows in _groups(result):
        drawn = [
            (name, {text.title(metric): row[metric] for metric in sorted(row, key=lambda metric: metric != _VERDICT)})
            for name, row in rows.items()
        ]
        told = "; ".join(
            f"{name}: {metric} {text.with_interval(one)}" for name, row in drawn for metric, one in row.items()
        )
        cells = [
            [
                name,
                text.title(metric),
                text.difference(one["difference"]),
                text.interval(one),
                text.general(one.get("p")),
            ]
            for name, differences in rows.items()
            for metric, one in differences.items()
        ]
        yield Picture(
            plots.forest(drawn, f"minus {against}", "better"),
            title,
            f"Differences from {against}. {told}",
            f"Means over {len(result['seeds'])} seeds, minus those of {against}; 95% intervals over users and trainings; "
            f"{text.HOLLOW}. Intervals are not corrected for the number of rows; the verdict is.",
            SOURCE,
            Table(f"Differences from {against}", ["row", "metric", "difference", "95% interval", "p"], cells),
        )
