"""Section on a comparison (`mal-tf benchmark`): its tables, and its differences as forest plots."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mal_tf.evaluation.judgement import reading
from mal_tf.evaluation.metrics import Gauc
from mal_tf.evaluation.multiplicity import holm, resamples_needed
from pipelines.core.layout import BENCHMARK
from pipelines.core.layout import RESULTS as SOURCE
from pipelines.core.text_table import Table
from pipelines.report import plots, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, Reading, Verdict
from pipelines.report.run_files import RunFiles

#: The metric that verdicts are based on.
_VERDICT = Gauc.name

#: Key of all clicks, both as a kind of slice and as the name of the slice.
_ALL = "all"


def results(run: RunFiles) -> dict[str, Any] | None:
    """Return the comparison's results; None if the run is not a comparison or is not finished."""
    return run.json(SOURCE) if run.has(SOURCE) and run.has(BENCHMARK) else None


def parts(run: RunFiles) -> list[Part]:
    """Build the section; no parts if the run is no comparison."""
    result = results(run)
    if result is None:
        return []
    from pipelines.studies.comparison.report import tables

    # The first table is of the labels, which have their own section.
    first, *others = (Numbers(table, SOURCE) for table in tables(result)[1:])
    return [*_pictures(result), first, Folded(f"{len(others)} more tables, slices among them", others)]


def verdicts(run: RunFiles) -> list[Part]:
    """Build a verdict for each comparison and primary target: which rows are better or worse, and which show no difference.

    P-values are adjusted by Holm's method over all rows of all verdicts.
    """
    result = results(run)
    if result is None:
        return []
    built: list[Part] = []
    groups = list(_groups(result))
    correction = _corrected(
        [differences[_VERDICT] for *_, rows in groups for differences in rows.values()], result["bootstrap_samples"]
    )
    for title, against, rows in groups:
        judged = {name: reading(_VERDICT, differences[_VERDICT]) for name, differences in rows.items()}
        readings: dict[str, str] = {name: side if sure else "open" for name, (side, sure) in judged.items()}
        readings |= {name: "few" for name, differences in rows.items() if differences[_VERDICT]["low"] is None}
        wording = {"better": "better", "worse": "worse", "open": "no difference shown", "few": "too few users to tell"}
        names_by_side = {side: [name for name in readings if readings[name] == side] for side in wording}
        summary = "; ".join(f"{wording[side]}: {', '.join(names)}" for side, names in names_by_side.items() if names)
        better, worse = names_by_side["better"], names_by_side["worse"]
        side: Reading = "better" if better and not worse else "worse" if worse and not better else "open"
        facts = [
            f"{name} {text.with_interval(differences[_VERDICT])}. {text.power(differences)}".rstrip()
            for name, differences in rows.items()
        ]
        built.append(Verdict(side, f"{title}, {Gauc.title} against {against}{correction}: {summary}.", SOURCE, facts))
    return built


def _corrected(judged: Sequence[dict[str, Any]], samples: int) -> str:
    """Add `adjusted_p` to the differences and return how they were corrected, in words."""
    p = np.array([math.nan if one.get("p") is None else one["p"] for one in judged])
    for one, adjusted in zip(judged, holm(p), strict=True):
        one["adjusted_p"] = None if math.isnan(adjusted) else float(adjusted)
    if any(one.get("low") is not None and one.get("p") is None for one in judged):
        return ", not corrected for how many there are, as an earlier version of mal-tf compared them"
    count = int(np.count_nonzero(~np.isnan(p)))
    correction = f", p corrected for {count} comparisons" if count > 1 else ""
    if samples >= (needed := resamples_needed(count)):
        return correction
    return f"{correction}, for which {samples:,} resamples are too few to show any (bootstrap_samples: {needed:,} are enough)"


def _groups(result: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, dict]]]:
    """Yield for each comparison and primary target the title, the baseline row, and the differences of each other row."""
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
        description = "; ".join(
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
            f"Differences from {against}. {description}",
            f"Means over {len(result['seeds'])} seeds, minus those of {against}; 95% intervals over users and trainings; "
            f"{text.HOLLOW}. Intervals are not corrected for the number of rows; the verdict is.",
            SOURCE,
            Table(f"Differences from {against}", ["row", "metric", "difference", "95% interval", "p"], cells),
        )
