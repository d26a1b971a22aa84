"""Prints an explanation in the terminal, readable at 80 columns."""

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

from pipelines.core import files
from pipelines.explain.explain import Explanation
from pipelines.explain.journey import Conversion
from pipelines.labels.finish import REPORT

#: Mechanisms side by side; more go into another table.
_WIDE = 6

#: Conversions whose credits are shown.
_CONVERSIONS = 5

#: Seconds before the progress bar appears.
_PATIENCE = 3

_SPLITS = {"train": "training split", "eval": "evaluation split"}


def show(console: Console, found: Explanation) -> None:
    """Prints an explanation: the click, its journey, credits, labels, predictions, features."""
    click, key = found.journey.clicks[found.place], ", ".join(found.journey.match_key)
    where = _SPLITS[found.split] if found.split else f"in no split: {found.why_not}"
    state = "mature" if found.mature else "immature"
    console.print(
        f"[bold]Click {escape(str(click.click_id))}[/], {click.timestamp:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True
    )
    console.print(f"user {found.journey.user_id}" + (f", match key {key}" if key else ""), markup=False, soft_wrap=True)
    console.print(
        f"{where}; {state}: its window closes {found.closes:%Y-%m-%d %H:%M} UTC", markup=False, soft_wrap=True
    )
    console.print(_agreement(found) + "\n", soft_wrap=True)
    _timeline(console, found)
    own = [c for c in found.journey.conversions if any(of[found.place] is not None for of in c.credit.values())]
    for conversion in own[:_CONVERSIONS]:
        _credits(console, found, conversion)
    if not own:
        console.print("No conversion is within its window: no mechanism gives it credit.\n")
    if len(own) > _CONVERSIONS:
        console.print(f"… and {len(own) - _CONVERSIONS} more conversions in its window")
    _labels(console, found)
    _features(console, found)


def _agreement(found: Explanation) -> str:
    if found.differs:
        columns = ", ".join(found.differs)
        return (
            f"[bold red]By the logs as they are now, the click differs from the label files in: {escape(columns)}.[/] "
            + ("Logs or config changed since." if found.changed else "This is a bug, please report it.")
        )
    if not found.split:
        return "As the label job would write it."
    return "As in the label files, byte for byte" + (
        ", although logs or config changed since." if found.changed else "."
    )


def _timeline(console: Console, found: Explanation) -> None:
    clicks, here = found.journey.clicks, found.journey.clicks[found.place]
    table = _table(
        "Journey: clicks and conversions of the user and match key", "#", "time, UTC", "hours", "event", "touchpoint"
    )
    rows = [(c.timestamp, 0, i) for i, c in enumerate(clicks)]
    rows += [(c.timestamp, 1, i) for i, c in enumerate(found.journey.conversions)]
    for moment, is_conversion, index in sorted(rows):
        hours = f"{(moment - here.timestamp).total_seconds() / 3600:+.2f}"
        if is_conversion:
            one = found.journey.conversions[index]
            cells = ("", f"{moment:%m-%d %H:%M:%S}", hours, f"conversion {one.conversion_id}, worth {one.value:g}", "")
            table.add_row(*map(escape, cells), style="green")
        else:
            one = clicks[index]
            number = f"{index + 1}{' ◀' if index == found.place else ''}"
            cells = (number, f"{moment:%m-%d %H:%M:%S}", hours, f"click {one.click_id}", one.touchpoint)
            table.add_row(*map(escape, cells), style="bold" if index == found.place else None)
    console.print(table)


def _credits(console: Console, found: Explanation, conversion: Conversion) -> None:
    names = list(conversion.credit)
    touched = [
        i for i in range(len(found.journey.clicks)) if any(of[i] is not None for of in conversion.credit.values())
    ]
    for first in range(0, len(names), _WIDE):
        some = names[first : first + _WIDE]
        table = _table(f"Credit for conversion {conversion.conversion_id}", "#", numbers=some)
        for index in touched:
            number = f"{index + 1}{' ◀' if index == found.place else ''}"
            cells = ("–" if (of := conversion.credit[name][index]) is None else f"{of:.4f}" for name in some)
            table.add_row(number, *cells, style="bold" if index == found.place else None)
        console.print(table)


def _labels(console: Console, found: Explanation) -> None:
    click = found.journey.clicks[found.place]
    table = _table(
        "Labels: the sum of credits, capped at 1", "mechanism", numbers=["window, h", "Σ credit", "label", "CAT bit"]
    )
    for bit, (name, label) in enumerate(click.label.items()):
        set_ = f"{1 << bit}" if found.cat >> bit & 1 else "–"
        table.add_row(name, f"{found.windows[name]:g}", f"{click.credit[name]:.4f}", f"{label:.4f}", set_)
    console.print(table)
    positive = " + ".join(name for bit, name in enumerate(click.label) if found.cat >> bit & 1) or "no mechanism"
    console.print(f"CAT class {found.cat}: {positive}; longest path it is part of: {found.path_length} clicks\n")
    for model, cvr in click.cvr.items():
        console.print(f"{model} predicts a CVR of {cvr:.6f}", markup=False)
    if not click.cvr:
        console.print("No model of this run was exported yet.")
    console.print()


def _features(console: Console, found: Explanation) -> None:
    table = _table("Features", "name", "value")
    for name, value in found.features.items():
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
    """Rows that explaining a click reads, of a finished label job and its logs; None if it is not finished."""
    if not files.exists(path := f"{directory}/{REPORT}"):
        return None
    report = json.loads(files.read_text(path))
    written = sum(split["clicks"] for split in report["splits"].values())
    return written + report["clicks"]["read"] + report["conversions"]["read"]


@contextlib.contextmanager
def progress(console: Console, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar that appears after a few seconds; yields a function to call with the number of rows just read."""
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
