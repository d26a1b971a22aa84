"""Bar charts, curves and forest plots, as inline SVG."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipelines.report import svg, text

#: Heights in pixels of a row's name in a forest plot, of an interval in it, and of a bar.
_NAME, _LINE, _BAR = 22, 18, 26

#: Longest name of a row in a forest plot, in characters; longer ones are cut.
_MAX_CHARS = 44


def bars(labels: Sequence[str], values: Sequence[float], shown: Sequence[str], xlabel: str) -> str:
    """Draw horizontal bars, each with its name on the left and its formatted value on the right.

    Args:
        labels: names of the bars, from the top.
        values: lengths of the bars.
        shown: the formatted values.
        xlabel: label of the x axis.
    """
    with svg.styled():
        figure, (axes,) = svg.canvas(height=_BAR * len(labels) + 70)
        axes.barh(range(len(labels)), values, color=svg.SERIES[0][0], height=0.68)
        axes.set_yticks(range(len(labels)), [_cut(label, 16) for label in labels])
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, max([*values, 1e-12]) * 1.28)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text.general(value)))
        for place, (value, value_text) in enumerate(zip(values, shown, strict=True)):
            axes.annotate(value_text, (value, place), (5, 0), textcoords="offset points", va="center")
        axes.set_xlabel(xlabel)
        return svg.inline(figure)


def columns(labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Draw vertical bars, each series in its own panel, at the same positions.

    Args:
        labels: labels of the positions, from the left.
        series: heights of the bars, by the title of the panel.
    """
    with svg.styled():
        figure, panels = svg.canvas(height=110 * len(series) + 40, rows=len(series))
        for axes, (name, values), (colour, *_) in zip(panels, series.items(), svg.series(len(series)), strict=True):
            axes.bar(range(len(labels)), values, color=colour, width=0.72)
            axes.set_title(name, loc="left")
            axes.grid(visible=False, axis="x")
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.general(value)))
        step = -(-len(labels) // 6)
        panels[-1].set_xticks(range(0, len(labels), step), labels[::step])
        return svg.inline(figure)


def curves(panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], xlabel: str) -> str:
    """Draw lines, each with its own colour, dashes and marker, in panels below one another.

    Args:
        panels: by the title of the panel, the x and y of each line by its name.
        xlabel: label of the x axis.
    """
    count = sum(map(len, panels.values()))
    styles = svg.series(count)
    with svg.styled():
        figure, drawn = svg.canvas(height=60 + 190 * len(panels) + 17 * -(-count // 3), rows=len(panels))
        for axes, (ylabel, lines) in zip(drawn, panels.items(), strict=True):
            for (name, (x, y)), (colour, marker, dashes) in zip(lines.items(), styles, strict=False):
                every = max(1, len(x) // 6)
                axes.plot(x, y, color=colour, ls=dashes, marker=marker, markevery=every, label=_cut(name, 16))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text.general(value)))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.set_title(ylabel, loc="left")
        drawn[-1].set_xlabel(xlabel)
        legend_above(figure, drawn, columns=3)
        return svg.inline(figure)


def forest(rows: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], xlabel: str, better: str = "") -> str:
    """Draw a forest plot: differences from zero with their intervals, the name of each row above them.

    A dot is hollow if its interval contains 0 or is not known.

    Args:
        rows: for each row its name, and by series `{"difference", "low", "high"}`; those without a value are left out.
        xlabel: label of the x axis.
        better: what a positive difference means, such as `mal is better`.
    """
    names = list(dict.fromkeys(name for _, intervals in rows for name in intervals))
    row = _NAME + _LINE * len(names) + 8
    with svg.styled():
        figure, (axes,) = svg.canvas(height=row * len(rows) + 62 + (24 if names[1:] else 0))
        axes.axvline(0, color=svg.MUTED, lw=1.5)
        for number, (name, (colour, marker, dashes)) in enumerate(zip(names, svg.series(len(names)), strict=True)):
            for place, (_, intervals) in enumerate(rows):
                if intervals.get(name, {}).get("difference") is not None:
                    _interval(
                        axes, intervals[name], row * place + _NAME + _LINE * (number + 0.5), colour, marker, dashes
                    )
            axes.plot([], [], color=colour, marker=marker, ms=8, ls=dashes, lw=2.5, label=name)
        box = {"facecolor": svg.CARD, "edgecolor": "none", "pad": 1.5}
        for place, (name, _) in enumerate(rows):
            corner = (0, row * place + _NAME / 2)
            axes.annotate(_cut(name, _MAX_CHARS), corner, xycoords=("axes fraction", "data"), va="center", bbox=box)
        axes.set_ylim(row * len(rows) + 2, -4)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.08)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -1e-4), max(high, 1e-4))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(_signed))
        axes.set_xlabel(f"{xlabel} → {better}" if better else xlabel)
        if names[1:]:
            legend_above(figure, [axes], columns=3)
        return svg.inline(figure)


def _interval(axes: Axes, interval: Mapping[str, float], y: float, colour: str, marker: str, dashes: object) -> None:
    low, high = interval.get("low"), interval.get("high")
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=colour, ls=dashes, lw=2.5, solid_capstyle="butt")
    hollow = low is None or high is None or low <= 0 <= high
    axes.plot(
        [interval["difference"]], [y], mfc=svg.CARD if hollow else colour, mec=colour, mew=2, marker=marker, ms=8, ls=""
    )


def _signed(value: float, _: int) -> str:
    return f"{value:+.4g}".replace("-", "−") if value else "0"


def legend_above(figure: Figure, axes: Sequence[Axes], columns: int) -> None:
    """Put one legend for all axes above a figure, where it covers nothing."""
    entries = [one.get_legend_handles_labels() for one in axes]
    handles = [handle for axes_handles, _ in entries for handle in axes_handles]
    labels = [label for _, axes_labels in entries for label in axes_labels]
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.0)


def _cut(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
