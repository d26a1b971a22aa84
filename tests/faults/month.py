"""A month of daily retraining with planted faults, through `mal-tf retrain`: what happened, and what served after each run.

After each run it is asserted that the serving directory holds just the models that were pushed, byte for byte, that the
newest of them loads, and that the history has the run with its outcome and reason.
"""

import datetime
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console

from pipelines.core import text_table
from tests.faults import market
from tests.faults.processes import Process
from tests.faults.schedule import STAGES, Month

#: Bytes that a disk has left where a model does not fit, and the history does.
_LITTLE = 256 << 10

#: Of the market.
CLICKS_PER_DAY = 12_000


def first(month: Month) -> None:
    """The first span, whose model floors alone decide about."""
    month.run(month.arrive(), "first run (--first)", 0, "", "--first")


def ordinary(month: Month) -> None:
    """A day without a fault."""
    month.run(month.arrive(), "nothing")


def late_log(month: Month) -> None:
    """The conversions come when the run was already refused."""
    span = month.arrive()
    day = datetime.date.fromisoformat(span)
    month.market.take_away("conversions", day)
    month.run(span, "conversions of the day are late", 3, f"no log of {span}")
    month.market.arrive(day)
    month.run(span, "they have arrived")


def missing_day(month: Month) -> None:
    """A day's logs never come."""
    lost = month.arrive()
    for table in ("clicks", "conversions"):
        month.market.take_away(table, datetime.date.fromisoformat(lost))
    month.run(lost, "the day's logs never come", 3, f"no log of {lost}")
    span = month.arrive()
    month.run(span, f"{lost} still missing", 3, f"no log of {lost}")
    month.set = [f"missing_days=['{lost}']"]
    month.run(span, f"missing_days has {lost}; no new day has all its conversions", 3, "has been trained up to")
    month.run(month.arrive(), f"{lost} and the day before are left out")


def two_at_once(month: Month) -> None:
    """A second run is started while the first one is at it."""
    span, known = month.arrive(), len(month.watch.runs())
    one = month.start(span)
    one.until(lambda: STAGES["label"] in one.shown())
    other = Process(["retrain", str(month.schedule), "--span", span], month.directory / "logs" / f"{span}-second.log")
    month.ended(other, span, "a second run at the same time", 75, "is in use by process", None)
    month.ended(one, span, "the first of the two", 0, "", known)


def kills(month: Month, stages: Sequence[str] = (*STAGES, "push")) -> None:
    """A run is killed in each stage, each time started again."""
    span = month.arrive()
    longest = {"label": 3.0, "check": 3.0, "train": 8.0, "export": 8.0, "infra": 8.0}
    for stage in stages:
        month.killed(span, stage, month.generator.random() * longest.get(stage, 0.0))
    month.run(span, "started again")


def schema_change(month: Month) -> None:
    """A day's clicks come without a column, then with another type, and are right the day after."""
    span = month.arrive(clicks=market.without_channel)
    day = datetime.date.fromisoformat(span)
    month.run(span, "clicks without the column 'channel'", 3, "column 'channel' of the clicks table is missing")
    month.market.arrive(day, clicks=market.price_as_text)
    month.run(span, "clicks whose 'price' is text", 3, "column 'price' of the clicks table can't be used")
    month.market.arrive(day)
    month.run(month.arrive(), f"{span} is delivered again, right")


def drift(month: Month) -> None:
    """A day's prices are in cents."""
    spoilt = month.arrive(clicks=market.price_in_cents)
    month.run(spoilt, "prices of the day are in cents; its labels are not final yet")
    month.run(month.arrive(), f"{spoilt} would judge", 3, "price")
    month.run(month.arrive(), f"{spoilt} would train, and is left out")


def poison(month: Month) -> None:
    """A day's conversions go to random clicks."""
    day = month.market.day(month.day)
    spoilt = month.arrive(conversions=market.random_credit(month.market.clicks(day)))
    month.run(spoilt, "the day's conversions are random clicks'; its labels are not final yet")
    month.run(month.arrive(), f"{spoilt} judges", 3)
    month.run(month.arrive(), f"{spoilt} trains", 3)
    month.run(month.arrive(), f"{spoilt} is left out")


def clock(month: Month) -> None:
    """The machine's clock is set back."""
    span = month.arrive()
    today = datetime.datetime.now(datetime.timezone.utc).date()
    if shutil.which("faketime") is None:
        month.run(str(today), "a day that has not ended (no faketime here)", 75, "set the clock")
        month.run(span, "nothing")
        return
    month.run(span, "clock set back into the day", 75, "set the clock", clock=f"{span} 12:00:00")
    month.run(span, "clock right again")


def full_disk(month: Month) -> None:
    """The disk is full, or fills up."""
    if month.disk is None:
        month.shown.print("full disk: left out, a small disk can't be mounted here (it takes root)")
        return
    span = month.arrive()
    for stage, left in ((None, 0), ("label", 0), ("train", 0), ("infra", _LITTLE)):
        month.filled(span, stage, left)
    month.run(span, "room again")


#: What a month has, in order.
PARTS: Sequence[Callable[[Month], None]] = (
    first, ordinary, late_log, two_at_once, kills, schema_change, missing_day, drift, poison, clock, full_disk, ordinary,
)  # fmt: skip


def simulate(
    directory: pathlib.Path, parts: Sequence[Callable[[Month], None]], days: int, clicks_per_day: int, shown
) -> Month:
    """Runs the parts of a month, one after the other.

    Args:
        directory: of all that is written.
        parts: of `PARTS`; the first one first.
        days: of logs, `FIRST_SPAN` and those that the parts take.
        clicks_per_day: of the market.
        shown: console to print each run to.
    """
    month = Month(directory, days, clicks_per_day, shown)
    try:
        for part in parts:
            try:
                part(month)
            except AssertionError as error:
                month.wrong.append(f"{part.__name__}: {error}")
                shown.print(month.wrong[-1], markup=False, soft_wrap=True)
        month.made = month.table()
    finally:
        if month.disk:
            month.disk.unmount()
    return month


def main(
    output: Annotated[
        pathlib.Path, typer.Argument(help="Directory to write to; what is there of a month is replaced.")
    ],
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Write the table to this file too.")] = None,
    parts: Annotated[str, typer.Option(help="Parts, with commas between; all if not given.")] = "",
):
    """Simulates the month."""
    known = {part.__name__: part for part in PARTS}
    if unknown := [name for name in parts.split(",") if name and name not in known]:
        raise typer.BadParameter(f"--parts: unknown part '{unknown[0]}'; there are: {', '.join(known)}")
    shown = Console()
    chosen = [known[name] for name in parts.split(",")] if parts else PARTS
    month = simulate(output.resolve(), chosen, 29, CLICKS_PER_DAY, shown)
    text_table.show(shown, month.made)
    if markdown:
        markdown.write_text(text_table.markdown(month.made), encoding="utf-8")
    if month.wrong:
        raise SystemExit("\n".join(["not as it must be:", *month.wrong]))


if __name__ == "__main__":
    typer.run(main)
