"""Rows and rows per second while a market is written."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def shown(console: Console, clicks: int) -> Iterator[Callable[[dict], None]]:
    """A progress bar; yields what is called with the rows so far, by table.

    Args:
        console: to print on. Where it is no terminal, the bar is printed once, at the end.
        clicks: how many are expected.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("simulating", total=clicks, rows="")

        def advance(rows: dict) -> None:
            rate = rows["clicks"] / max(time.monotonic() - began, 1e-9)
            told = f"{rows['clicks']:,} clicks, {rows['conversions']:,} conversions, {rate:,.0f} clicks/s"
            progress.update(task, completed=rows["clicks"], rows=told)

        yield advance
        progress.update(task, completed=clicks)
