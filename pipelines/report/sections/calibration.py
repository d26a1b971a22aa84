"""Whether predictions are probabilities: calibration curves, and what a calibration layer changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from pipelines.report import plots, svg, text
from pipelines.report.parts import Numbers, Part, Picture, missing
from pipelines.report.sections import evaluation
from pipelines.report.source import RunFiles
from pipelines.text_table import Table


def parts(run: RunFiles) -> list[Part]:
    """The section; nothing where the models were neither evaluated nor calibrated."""
    found, made = evaluation.metrics(run), []
    if found and found.get("calibration"):
        made += [_curve(name, bins, found) for name, bins in found["calibration"].items() if bins]
    made += [_layer(run, name) for name in run.stages_of("calibrate")]
    if found and not made:
        return [missing(f"{evaluation.SOURCE} has no calibration curve: an earlier version of mal-tf wrote it.")]
    return made


def _curve(name: str, bins: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> Part:
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
    pcoc = found["models"].get(name, {}).get("pcoc")
    return Picture(
        _drawn(bins),
        f"Calibration of {name}",
        f"Observed against predicted conversion rate of {name} in {len(bins)} bins; PCOC {text.number(pcoc, 3)}.",
        "Clicks in bins of equal size by prediction: below the dashed line the model promises more than came, above it "
        f"less. Bars: 95% intervals over users. PCOC, all predicted over all observed: {text.number(pcoc, 3)}.",
        evaluation.SOURCE,
        Table(f"Calibration of {name}", columns, rows),
    )


def _drawn(bins: Sequence[Mapping[str, Any]]) -> str:
    known = [one for one in bins if one.get("observed") is not None]
    values = [one[key] for one in known for key in ("predicted", "observed", "high") if one.get(key)]
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
        axes.plot(ends, ends, color=svg.MUTED, ls=(0, (5, 3)), lw=1.5, label="predicted = observed")
        for one in known:
            if one.get("low") is not None and one.get("high") is not None:
                span = [max(one["low"], ends[0]), one["high"]]
                axes.plot([one["predicted"]] * 2, span, color=colour, lw=2, alpha=0.6, solid_capstyle="butt")
        drawn = [one for one in known if one["observed"] > 0 or not logarithmic]
        axes.plot(
            [one["predicted"] for one in drawn],
            [one["observed"] for one in drawn],
            color=colour,
            marker=marker,
            label="bins",
        )
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_xlabel("predicted conversion rate")
        axes.set_title("observed conversion rate", loc="left")
        plots.legend_above(figure, [axes], columns=2)
        return svg.inline(figure)


def _layer(run: RunFiles, name: str) -> Part:
    file = f"calibrate/{name}/calibration.json"
    if not run.has(file):
        return missing(f"{file} is not there.")
    found = run.json(file)
    rows = [
        [when, *(text.metric(metric, found.get(when, {}).get(metric)) for metric in ("log_loss", "pcoc", "ece"))]
        for when in ("before", "after")
    ]
    by = f", by {found['by']}" if found.get("by") else ""
    note = (
        f"{found.get('method', 'a map')}{by}, fitted on {text.integer(found.get('clicks'))} clicks with "
        f"{text.integer(found.get('positives'))} positives; the numbers are of those clicks."
    )
    columns = [name, "log-loss", "PCOC", "ECE"]
    return Numbers(Table(f"Calibration layer of {name}, before and after", columns, rows, note), file)
