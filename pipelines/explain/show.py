"""Prints an explanation in the terminal, for 80 columns."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from features.time_units import SECONDS_PER_HOUR
from pipelines.core import files
from pipelines.explain.explain import Explanation
from pipelines.explain.journey import Conversion
from pipelines.labels.finish import REPORT

#: Largest number of mechanisms side by side; further ones are shown in another table.
_WIDE = 6

#: Number of conversions whose credits are shown.
_CONVERSIONS = 5

#: Largest number of context touches that are shown.
_CONTEXT = 25

#: Seconds before the progress bar appears.
_PATIENCE = 3

_SPLITS = {"train": "training split", "eval": "evaluation split"}


def show(console: Console, explanation: Explanation) -> None:
    """Print an explanation: the click, its journey, credits, labels, predictions and features."""
    click, key = explanation.journey.clicks[explanation.place], ", ".join(explanation.journey.match_key)
    where = _SPLITS[explanation.split] if explanation.split else f"in no split: {explanation.why_not}"
    state = "mature" if explanation.mature else "immature"
    console.print(
        f"[bold]Click {escape(str(click.click_id))}[/], {click.timestamp:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True
    )
    console.print(
        f"user {explanation.journey.user_id}" + (f", match key {key}" if key else ""), markup=False, soft_wrap=True
    )
    console.print(
        f"{where}; {state}: its window closes {explanation.closes:%Y-%m-%d %H:%M} UTC", markup=False, soft_wrap=True
    )
    console.print(_agreement(explanation) + "\n", soft_wrap=True)
    _timeline(console, explanation)
    in_window = [
        c
        for c in explanation.journey.conversions
        if any(credits[explanation.place] is not None for credits in c.credit.values())
    ]
    for conversion in in_window[:_CONVERSIONS]:
        _credits(console, explanation, conversion)
    if not in_window:
        console.print("No conversion is within its window, so no mechanism gives it credit.\n")
    if len(in_window) > _CONVERSIONS:
        console.print(f"… and {len(in_window) - _CONVERSIONS} more conversions in its window")
    _labels(console, explanation)
    _features(console, explanation)


def _agreement(explanation: Explanation) -> str:
    if explanation.differs:
        columns = ", ".join(explanation.differs)
        return (
            f"[bold red]By the logs as they are now, the click differs from the label files in: {escape(columns)}.[/] "
            + ("Logs or config have changed since." if explanation.changed else "This is a bug, please report it.")
        )
    if not explanation.split:
        return "As the label job would write it."
    return "As in the label files, byte for byte" + (
        ", although logs or config have changed since." if explanation.changed else "."
    )


def _timeline(console: Console, explanation: Explanation) -> None:
    clicks, explained = explanation.journey.clicks, explanation.journey.clicks[explanation.place]
    context = explanation.journey.context
    events = "clicks and conversions" if not context else "clicks, context touches and conversions"
    table = _table(f"Journey: {events} of the user and match key", "#", "time, UTC", "hours", "event", "touchpoint")
    rows = [(c.timestamp, 1, i) for i, c in enumerate(clicks)]
    rows += [(c.timestamp, 2, i) for i, c in enumerate(explanation.journey.conversions)]
    rows += [(context[i].timestamp, 0, i) for i in _shown_context(explanation)]
    for moment, kind, index in sorted(rows):
        hours = f"{(moment - explained.timestamp).total_seconds() / SECONDS_PER_HOUR:+.2f}"
        if kind == 0:
            touch = context[index]
            event = f"{touch.kind} {touch.touch_id}"
            cells = (_context_number(index), f"{moment:%m-%d %H:%M:%S}", hours, event, touch.touchpoint)
            table.add_row(*map(escape, cells), style="dim")
        elif kind == 2:
            one = explanation.journey.conversions[index]
            worth = "of unknown value" if one.value is None else f"worth {one.value:g}"
            cells = ("", f"{moment:%m-%d %H:%M:%S}", hours, f"conversion {one.conversion_id}, {worth}", "")
            table.add_row(*map(escape, cells), style="green")
        else:
            click = clicks[index]
            number = f"{index + 1}{' ◀' if index == explanation.place else ''}"
            cells = (number, f"{moment:%m-%d %H:%M:%S}", hours, f"click {click.click_id}", click.touchpoint)
            table.add_row(*map(escape, cells), style="bold" if index == explanation.place else None)
    console.print(table)
    if hidden := len(context) - len(_shown_context(explanation)):
        console.print(f"… and {hidden} more context touches, further from the click")


def _shown_context(explanation: Explanation) -> list[int]:
    """Places of the context touches that are shown, those nearest to the click, in the order of time."""
    moment = explanation.journey.clicks[explanation.place].timestamp
    times = [touch.timestamp for touch in explanation.journey.context]
    return sorted(sorted(range(len(times)), key=lambda i: abs(times[i] - moment))[:_CONTEXT])


def _context_number(index: int) -> str:
    return f"c{index + 1}"


def _credits(console: Console, explanation: Explanation, conversion: Conversion) -> None:
    names = list(conversion.credit)
    touched = [
        i
        for i in range(len(explanation.journey.clicks))
        if any(credits[i] is not None for credits in conversion.credit.values())
    ]
    for first in range(0, len(names), _WIDE):
        columns = names[first : first + _WIDE]
        table = _table(f"Credit for conversion {conversion.conversion_id}", "#", numbers=columns)
        for index in touched:
            number = f"{index + 1}{' ◀' if index == explanation.place else ''}"
            cells = ("–" if (credit := conversion.credit[name][index]) is None else f"{credit:.4f}" for name in columns)
            table.add_row(number, *cells, style="bold" if index == explanation.place else None)
        for index in _shown_context(explanation):
            credits = [conversion.context_credit[name][index] for name in columns]
            if any(credit is not None for credit in credits):
                cells = ("–" if credit is None else f"{credit:.4f}" for credit in credits)
                table.add_row(_context_number(index), *cells, style="dim")
        console.print(table)


def _labels(console: Console, explanation: Explanation) -> None:
    click = explanation.journey.clicks[explanation.place]
    table = _table(
        "Labels: the sum of credits, capped at 1", "mechanism", numbers=["window, h", "Σ credit", "label", "CAT bit"]
    )
    for bit, (name, label) in enumerate(click.label.items()):
        set_ = f"{1 << bit}" if explanation.cat >> bit & 1 else "–"
        table.add_row(name, f"{explanation.windows[name]:g}", f"{click.credit[name]:.4f}", f"{label:.4f}", set_)
    console.print(table)
    positive = " + ".join(name for bit, name in enumerate(click.label) if explanation.cat >> bit & 1) or "no mechanism"
    touches = "touches" if explanation.journey.context else "clicks"
    console.print(
        f"CAT class {explanation.cat}: {positive}; longest path it is part of: {explanation.path_length} {touches}\n"
    )
    for model, cvr in click.cvr.items():
        console.print(f"{model} predicts a CVR of {cvr:.6f}", markup=False)
    if not click.cvr:
        console.print("No model of this run was exported yet.")
    console.print()


def _features(console: Console, explanation: Explanation) -> None:
    table = _table("Features", "name", "value")
    for name, value in explanation.features.items():
        text = ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
        table.add_row(name, escape(text or "(none)"))
    console.print(table)


def _text(value: Any) -> str:
    return "(missing)" if value is None else f"{value:.7g}" if isinstance(value, float) else str(value)


def _table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(title=escape(title), box=SIMPLE_HEAD, title_justify="left", pad_edge=False, min_width=len(title) + 2)
    for name in columns:
        table.add_column(name, justify="right" if name == "hours" else "left", overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def rows_read(directory: str) -> int | None:
    """Return the number of rows that are read to explain a click; None if the label job is not finished."""
    if not files.exists(path := f"{directory}/{REPORT}"):
        return None
    report = json.loads(files.read_text(path))
    written = sum(split["clicks"] for split in report["splits"].values())
    return written + sum(report[table]["read"] for table in report["days"])


@contextlib.contextmanager
def progress(console: Console, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar after a few seconds. Yields a function to call with the number of rows just read."""
    began, bar = time.monotonic(), Progress(console=console, transient=True)
    task = bar.add_task("reading", total=total)

    def advance(rows: int) -> None:
        bar.advance(task, rows)
        if console.is_terminal and time.monotonic() - began > _PATIENCE:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()
