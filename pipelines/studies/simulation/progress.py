"""Progress bar of a simulation, with the number of rows and their rate."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def shown(console: Console, clicks: int) -> Iterator[Callable[[dict], None]]:
    """Shows a progress bar.

    Args:
        console: console to print to. If it is not a terminal, the bar is printed once, at the end.
        clicks: expected number of clicks.

    Yields:
        A function to call with the number of rows so far by table.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("simulating", total=clicks, rows="")

        def advance(rows: dict) -> None:
            rate = rows["clicks"] / max(time.monotonic() - began, 1e-9)
            text = f"{rows['clicks']:,} clicks, {rows['conversions']:,} conversions, {rate:,.0f} clicks/s"
            progress.update(task, completed=rows["clicks"], rows=text)

        yield advance
        progress.update(task, completed=clicks)
