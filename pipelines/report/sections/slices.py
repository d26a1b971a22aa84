"""Sections on slices: differences of the served model on each slice, and gain against growth in positives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mal_tf.evaluation.metrics import Gauc, additive_metrics, registered_metrics
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, PATH_LENGTH, USER_HISTORY
from pipelines.core.text_table import Table
from pipelines.report import plots, svg, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import evaluation

#: Titles of the kinds of slices that are not by a feature, in the order of the page.
_KINDS = {
    INFORMATION_GAIN: "Users by extra positives",
    PATH_LENGTH: "Length of the journey",
    CLICK_AGE: "Age of the click",
    USER_HISTORY: "New against known users",
}

#: Largest number of slices in a figure, those with the most positives.
_DRAWN = 12

#: The metric whose gain is drawn against growth.
_GAIN = Gauc.name


def parts(run: RunFiles) -> list[Part]:
    """Build the section; no parts if the models were not evaluated."""
    result = evaluation.metrics(run)
    if result is None:
        return []
    if not result.get("slices"):
        return [
            missing(
                "evaluate/metrics.json has no slices: none were asked for, or an earlier version of mal-tf wrote it."
            )
        ]
    name = evaluation.served(run, result)
    kinds: dict[str, list] = {}
    for one in result["slices"]:
        kinds.setdefault(one["by"], []).append(one)
    built = [part for by in _KINDS if by in kinds for part in _kind(name, by, kinds[by])]
    for by in kinds:
        if by not in _KINDS:
            built.append(Folded(f"By {by}", list(_kind(name, by, kinds[by]))))
    return built


def growth(run: RunFiles) -> list[Part]:
    """Build the section on gain against growth in positives, as in figures 5 and 6 of the MAL paper (arXiv 2508.15217)."""
    result = evaluation.metrics(run)
    if result is None:
        return []
    name, built = evaluation.served(run, result), []
    kinds: dict[str, list] = {}
    for one in result.get("slices") or []:
        if one.get("growth") is not None and one["by"] != PATH_LENGTH:
            kinds.setdefault(one["by"], []).append(one)
    kinds = {by: of for by, of in kinds.items() if len(of) > 1}
    for by in sorted(kinds, key=lambda by: by not in _KINDS):
        built += [
            _gain(name, other, by, kinds[by])
            for other in result.get("differences", {})
            if any(_difference(one, other, _GAIN) for one in kinds[by])
        ]
    first, more = built[:3], built[3:]
    if not built:
        return [missing("No two slices have a growth in positives and a GAUC to compare.")]
    return [*first, Folded(f"{len(more)} more, by other features", more)] if more else first


def _title(by: str) -> str:
    return _KINDS.get(
        by, f"Known and new values of {by.removeprefix('known_')}" if by.startswith("known_") else f"By {by}"
    )


def _kind(name: str, by: str, slices: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    drawn = sorted(sorted(slices, key=lambda one: -one["positives"])[:_DRAWN], key=slices.index)
    others = list(dict.fromkeys(other for one in slices for other in one.get("differences", {})))
    omitted = f" The {_DRAWN} of most positives of {len(slices)}; the table has all." if len(slices) > _DRAWN else ""
    for other in others:
        rows = [
            (
                f"{one['name']} ({one['positives']:,} positives)",
                {
                    text.title(metric): difference
                    for metric in _headlines()
                    if (difference := _difference(one, other, metric))
                },
            )
            for one in drawn
        ]
        rows = [(label, numbers) for label, numbers in rows if numbers]
        if rows:
            yield Picture(
                plots.forest(rows, f"{name} minus {other}", "better"),
                f"{_title(by)}: {name} minus {other}",
                f"Differences of {name} from {other} by {by}; the table has the numbers.",
                f"Differences on each slice, with 95% intervals over users; {text.HOLLOW}.{omitted}",
                evaluation.SOURCE,
                _table(name, by, slices, other),
            )
        else:
            yield Numbers(_table(name, by, slices, other), evaluation.SOURCE)
    if not others:
        yield Numbers(_table(name, by, slices, None), evaluation.SOURCE)


def _table(name: str, by: str, slices: Sequence[Mapping[str, Any]], other: str | None) -> Table:
    rows = []
    for one in slices:
        metrics = one["models"].get(name, {})
        cells = [one["name"], *(text.integer(one.get(key)) for key in ("clicks", "users", "positives"))]
        cells += [
            text.number(one.get("growth"), 3),
            *(text.metric(metric, metrics.get(metric)) for metric in registered_metrics()),
        ]
        if other:
            for metric in _headlines():
                difference = _difference(one, other, metric) or {}
                cells += [text.difference(difference.get("difference")), text.interval(difference)]
        rows.append(cells)
    columns = [
        by,
        "clicks",
        "users",
        "positives",
        "growth in positives",
        *(f"{name}: {text.title(metric)}" for metric in registered_metrics()),
    ]
    for metric in _headlines() if other else ():
        columns += [f"Δ {text.title(metric)}", "95% interval"]
    against = f"; Δ to {other}" if other else ""
    return Table(f"{_title(by)}{against}", columns, rows)


def _headlines() -> list[str]:
    """Return the names of the metrics whose differences are drawn."""
    return [name for name, metric in additive_metrics().items() if metric.headline]


def _difference(one: Mapping[str, Any], other: str, metric: str) -> Mapping[str, Any] | None:
    difference = one.get("differences", {}).get(other, {}).get(metric)
    return difference if difference and difference.get("difference") is not None else None


def _gain(name: str, other: str, by: str, slices: Sequence[Mapping[str, Any]]) -> Part:
    points = [
        (one["name"], one["growth"], one["positives"], difference)
        for one in slices
        if (difference := _difference(one, other, _GAIN))
    ]
    points = sorted(sorted(points, key=lambda point: -point[2])[:_DRAWN], key=lambda point: point[1])
    rows = [
        [
            label,
            text.number(growth, 3),
            text.integer(positives),
            text.difference(difference["difference"]),
            text.interval(difference),
        ]
        for label, growth, positives, difference in points
    ]
    with svg.styled():
        figure, (axes,) = svg.canvas(height=300)
        colour, *_ = svg.SERIES[0]
        axes.axhline(0, color=svg.MUTED, lw=1.5)
        for number, (_, x, _, difference) in enumerate(points, 1):
            if difference.get("low") is not None:
                axes.plot([x, x], [difference["low"], difference["high"]], color=colour, lw=2, solid_capstyle="butt")
            axes.plot([x], [difference["difference"]], color=colour, marker="o", ms=16, mec=svg.CARD, mew=1.5, ls="")
            axes.annotate(
                str(number), (x, difference["difference"]), ha="center", va="center", color=svg.CARD, fontsize=9.5
            )
        axes.margins(x=0.1)
        axes.set_xlabel("growth in positives")
        axes.set_title("Δ GAUC", loc="left")
        drawn = svg.inline(figure)
    listed = "; ".join(f"{number}: {label}" for number, (label, *_) in enumerate(points, 1))
    return Picture(
        drawn,
        f"{_title(by)}: gain of {name} over {other}",
        f"GAUC of {name} minus {other} against growth in positives. " + "; ".join(" ".join(row) for row in rows),
        "Each number is a slice. To the right: positives of the wider over those of the narrower mechanism (linear over last "
        "by default); upwards: gain, with no bar where few users carry it. If more labels are what helps, the dots rise to the "
        f"right. {listed}.",
        evaluation.SOURCE,
        Table(f"Gain and growth: {by}", ["slice", "growth", "positives", "Δ GAUC", "95% interval"], rows),
    )
