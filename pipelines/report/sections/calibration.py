"""Section on calibration: calibration curves of the models, and the effect of a calibration layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mal_tf.evaluation.metrics import Pcoc, level_metrics
from pipelines.core.text_table import Table
from pipelines.report import plots, svg, text
from pipelines.report.parts import Folded, Numbers, Part, Picture, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import evaluation


def parts(run: RunFiles) -> list[Part]:
    """Build the section; no parts if the models were neither evaluated nor calibrated."""
    metrics, built = evaluation.metrics(run), []
    if metrics and metrics.get("calibration"):
        built += _curves(metrics, metrics["target"], metrics)
        others = {
            label: label_metrics
            for label, label_metrics in metrics.get("labels", {}).items()
            if label != metrics["target"]
        }
        folded = [
            part
            for label, label_metrics in others.items()
            if label_metrics.get("calibration")
            for part in _curves(metrics, label, label_metrics)
        ]
        built += [Folded("Under the labels of the other mechanisms", folded)] if folded else []
    built += [part for name in run.stages_of("calibrate") for part in _layer(run, name)]
    if metrics and not built:
        return [missing(f"{evaluation.SOURCE} has no calibration curve: an earlier version of mal-tf wrote it.")]
    return built


def _curves(metrics: Mapping[str, Any], label: str, label_metrics: Mapping[str, Any]) -> list[Part]:
    """Build a calibration curve for each model, under a mechanism's label."""
    under = "" if label == metrics["target"] else f", label_{label}"
    return [
        _curve(f"{name}{under}", bins, label_metrics["models"].get(name, {}).get(Pcoc.name))
        for name, bins in label_metrics["calibration"].items()
        if bins
    ]


def _curve(name: str, bins: Sequence[Mapping[str, Any]], pcoc: float | None) -> Part:
    rows = [
        [
            str(number),
            text.integer(one["clicks"]),
            *(text.number(one.get(key), 5) for key in ("predicted", "observed")),
            text.number(one.get("low"), 5),
            text.number(one.get("high"), 5),
        ]
        for number, one in enumerate(bins, 1)
    ]
    columns = ["bin", "clicks", "predicted", "observed", "95% low", "95% high"]
    return Picture(
        _drawn(bins),
        f"Calibration of {name}",
        f"Observed against predicted conversion rate of {name} in {len(bins)} bins; PCOC {text.number(pcoc, 3)}.",
        "Clicks in bins of equal size by prediction: below the dashed line the model promises more than came, above it "
        f"less. Bars: 95% intervals over users. PCOC, all predicted over all observed: {text.number(pcoc, 3)}.",
        evaluation.SOURCE,
        Table(f"Calibration of {name}", columns, rows),
    )


def _drawn(
    bins: Sequence[Mapping[str, Any]],
    xlabel: str = "predicted conversion rate",
    ylabel: str = "observed conversion rate",
    name: str = "bins",
) -> str:
    observed = [one for one in bins if one.get("observed") is not None]
    values = [one[key] for one in observed for key in ("predicted", "observed", "high") if one.get(key)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    logarithmic = low > 0 and high > 20 * low
    with svg.styled():
        figure, (axes,) = svg.canvas(height=330)
        colour, marker, _ = svg.SERIES[0]
        ends = (low / 1.5, high * 1.3) if logarithmic else (0, high * 1.08)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 3), numticks=8) if logarithmic else MaxNLocator(4))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())
        axes.plot(ends, ends, color=svg.MUTED, ls=(0, (5, 3)), lw=1.5, label="where both are equal")
        for one in observed:
            if one.get("low") is not None and one.get("high") is not None:
                span = [max(one["low"], ends[0]), one["high"]]
                axes.plot([one["predicted"]] * 2, span, color=colour, lw=2, alpha=0.6, solid_capstyle="butt")
        drawn = [one for one in observed if one["observed"] > 0 or not logarithmic]
        axes.plot(
            [one["predicted"] for one in drawn],
            [one["observed"] for one in drawn],
            color=colour,
            marker=marker,
            label=name,
        )
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_xlabel(xlabel)
        axes.set_title(ylabel, loc="left")
        plots.legend_above(figure, [axes], columns=2)
        return svg.inline(figure)


def _layer(run: RunFiles, name: str) -> list[Part]:
    source = f"calibrate/{name}/calibration.json"
    if not run.has(source):
        return [missing(f"{source} is not there.")]
    calibration = run.json(source)
    rows = [
        [f"{clicks}, {when}", *(text.metric(metric, values[when].get(metric)) for metric in level_metrics())]
        for clicks, values in (
            ("clicks of the fit", calibration),
            ("evaluation split", calibration.get("evaluation", {})),
        )
        for when in ("before", "after")
        if when in values
    ]
    by = f", by {calibration['by']}" if calibration.get("by") else ""
    note = (
        f"{calibration.get('method', 'a map')}{by}, fitted on {text.integer(calibration.get('clicks'))} clicks with "
        f"{text.integer(calibration.get('positives'))} positives that the model was not trained on."
    )
    table = Table(
        f"Calibration layer of {name}, before and after", [name, *map(text.title, level_metrics())], rows, note
    )
    built: list[Part] = [Numbers(table, source)]
    if (curve := calibration.get("overall")) and len(curve["x"]) > 1:
        built.append(_map(name, curve, source))
    return built


def _map(name: str, curve: Mapping[str, Any], source: str) -> Part:
    x, y = (1 / (1 + np.exp(-np.array(curve[axis]))) for axis in ("x", "y"))
    points = [{"predicted": before, "observed": after} for before, after in zip(x.tolist(), y.tolist(), strict=True)]
    rows = [[text.number(before, 5), text.number(after, 5)] for before, after in zip(x, y, strict=True)]
    return Picture(
        _drawn(points, "before the layer", "after the layer", "map"),
        f"Calibration layer of {name}: its map",
        f"Conversion rate after the layer against the model's own, at {len(points)} knots.",
        "What the layer makes of the model's prediction, for all clicks that have no map of their own. Below the dashed line it "
        "lowers predictions, above it raises them.",
        source,
        Table("Knots of the map", ["before", "after"], rows),
    )
