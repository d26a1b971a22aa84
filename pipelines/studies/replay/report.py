"""Text tables and figures of the results of a replay."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from pipelines.core.layout import FIGURES
from pipelines.core.text_table import Table
from pipelines.studies.figures import save, styled
from pipelines.studies.replay.intervals import ALL
from pipelines.studies.replay.run import PAIRED, SPLIT

_TITLES = {PAIRED: "Every arm plays all users", SPLIT: "Each arm plays its own users"}
_NAMES = {"gmv": "GMV", "orders": "orders", "spend": "spend", "roi": "ROI"}

#: Ticks of the axis of differences, which is not linear, as those of models are small beside those of the truth.
_TICKS = (-0.5, -0.2, -0.05, -0.02, 0, 0.02, 0.05, 0.2, 0.5)

#: Measures reported by industry.
_BY_INDUSTRY = ("gmv", "orders", "roi")


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Builds the tables from the result of `run.run`."""
    built = []
    for design, arms in result["designs"].items():
        built.append(_arms(result, _TITLES[design], arms))
        built += [_industries(result, _TITLES[design], arms, measure) for measure in _BY_INDUSTRY]
    return [*built, *([_chance(result)] if result["chance"]["splits"] else [])]


def _arms(result: Mapping[str, Any], title: str, arms: Mapping[str, Any]) -> Table:
    base, clicks = _base(result), result["clicks"]
    columns = ["arm", "users", "clicks bought", "budget spent"]
    columns += ["GMV", f"Δ GMV to {base}", "orders", "Δ orders", "ROI", "Δ ROI", "Δ spend"]
    rows = []
    for name, arm in arms.items():
        overall = arm["industries"][ALL]
        cells = [name, f"{arm['users']:,}", f"{arm['bought']:,.0f}", _percent(arm["spent"])]
        for measure, digits in (("gmv", 1), ("orders", 3), ("roi", 3)):
            cells += [_number(overall[measure]["value"], digits), "–" if name == base else lift(overall[measure])]
        rows.append([*cells, "–" if name == base else lift(overall["spend"])])
    note = (
        f"A simulation. {clicks['counted']:,} clicks of {clicks['days'] - result['config']['warm_up_days']} days on sale. GMV "
        "and orders that the clicks bought caused, by the market's truth, per 1,000 users; ROI: GMV over spend. "
        f"{_how(result)}"
    )
    return Table(f"{title}: arms", columns, rows, note)


def _industries(result: Mapping[str, Any], title: str, arms: Mapping[str, Any], measure: str) -> Table:
    base = _base(result)
    others = [name for name in arms if name != base]
    rows = [
        [
            industry,
            _number(cells[measure]["value"], 3),
            *(lift(arms[name]["industries"][industry][measure]) for name in others),
        ]
        for industry, cells in arms[base]["industries"].items()
        if industry != ALL
    ]
    columns = ["industry", f"{base}: {_NAMES[measure]}", *(f"Δ {name}" for name in others)]
    return Table(f"{title}: {_NAMES[measure]} by industry", columns, rows, _how(result))


def _chance(result: Mapping[str, Any]) -> Table:
    chance = result["chance"]
    rows = [
        [name, _percent(chance["covered"][measure]), _percent(chance["deviation"][measure])]
        for measure, name in _NAMES.items()
    ]
    note = (
        f"{chance['splits']} other splits of the users in which all arms bid with the first arm's first model: "
        f"{chance['intervals']} differences that are chance alone."
    )
    columns = ["measure", "95% intervals that cover 0", "standard deviation of the differences"]
    return Table("Each arm plays its own users: the same model in all arms", columns, rows, note)


def _base(result: Mapping[str, Any]) -> str:
    return result["config"]["against"] or result["config"]["arms"][0]["name"]


def _how(result: Mapping[str, Any]) -> str:
    config = result["config"]
    trainings = max([1, *(len(arm["models"]) for arm in config["arms"])])
    resampled = "users and trainings" if trainings > 1 else "users"
    means = f"Means over {trainings} trainings of each model. " if trainings > 1 else ""
    return (
        f"{means}In brackets: 95% interval, bootstrap over {resampled} ({config['samples']} resamples), not corrected for the "
        "number of arms, measures and industries: of twenty that are chance alone one may leave 0 out."
    )


def lift(cell: Mapping[str, float | None]) -> str:
    """Formats a difference and its interval in percent."""
    if cell["lift"] is None:
        return "–"
    if cell["lift_low"] is None or cell["lift_high"] is None:
        return f"{cell['lift']:+.1%}"
    return f"{cell['lift']:+.1%} ({cell['lift_low']:+.1%} … {cell['lift_high']:+.1%})"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def figures(result: Mapping[str, Any], directory: str) -> list[str]:
    """Draws `FIGURES`, the differences of all arms in both designs, and the GMV of the models by industry.

    Args:
        result: result of `run.run`.
        directory: directory to write to.

    Returns:
        Paths of the files.
    """
    base, arms = _base(result), [arm["name"] for arm in result["config"]["arms"]]
    others = [name for name in arms if name != base]
    model_arms = [arm["name"] for arm in result["config"]["arms"] if arm["models"] and arm["name"] != base]
    paired = result["designs"][PAIRED]
    with styled("replay"):
        figure = Figure(figsize=(9, 1.2 + 0.4 * len(others)), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True, squeeze=False)
        for axis, measure in zip(axes[0], _BY_INDUSTRY, strict=True):
            for shift, (design, by_arm) in zip((-0.15, 0.15), result["designs"].items(), strict=True):
                cells = [by_arm[name]["industries"][ALL][measure] for name in others]
                _intervals(axis, others, cells, _TITLES[design].lower(), shift)
            axis.set_xscale("symlog", linthresh=0.05)
            axis.xaxis.set(major_locator=FixedLocator(_TICKS), minor_locator=NullLocator())
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axis.set_title(f"{_NAMES[measure]}, difference to {base}")
        axes[0][0].invert_yaxis()
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        paths = [save(figure, f"{directory}/{FIGURES[0]}")]
        if model_arms:
            names = [name for name in paired[base]["industries"] if name != ALL]
            figure = Figure(figsize=(9, 3), layout="constrained")
            axes = figure.subplots(1, len(model_arms), sharey=True, sharex=True, squeeze=False)
            for axis, arm in zip(axes[0], model_arms, strict=True):
                _intervals(axis, names, [paired[arm]["industries"][name]["gmv"] for name in names], arm)
                axis.set_title(arm.replace(" ", "\n"))
            axes[0][0].invert_yaxis()
            figure.supxlabel(f"GMV, difference to {base}; {_TITLES[PAIRED].lower()}")
            paths.append(save(figure, f"{directory}/{FIGURES[1]}"))
    return paths


def _intervals(
    axis: Axes, names: Sequence[str], cells: Sequence[Mapping[str, Any]], label: str, shift: float = 0.0
) -> None:
    """Draws points with intervals on a line each, leaving out undefined ones."""
    defined = [
        (n, cell) for n, cell in enumerate(cells) if None not in (cell["lift"], cell["lift_low"], cell["lift_high"])
    ]
    at, lifts = [n + shift for n, _ in defined], [cell["lift"] for _, cell in defined]
    axis.hlines(at, [cell["lift_low"] for _, cell in defined], [cell["lift_high"] for _, cell in defined], "grey")
    axis.plot(lifts, at, "o", markersize=4, label=label)
    axis.axvline(0, color="black", linewidth=0.5)
    axis.set_yticks(range(len(names)), names)
    axis.xaxis.set_major_formatter(PercentFormatter(1.0))
