"""A month of daily retraining with planted faults, through `mal-tf retrain`: what happened, and what served after each run.

After each run it is asserted that the serving directory holds just the models that were pushed, byte for byte, that the
newest of them loads, and that the history has the run with its outcome and reason.
"""

import dataclasses
import datetime
import pathlib
import shutil
import signal
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import typer
import yaml

from benchmarks import retraining_market, tables
from benchmarks.retraining_market import FIRST_SPAN, Market
from benchmarks.retraining_processes import DIES_IN_PUSH, Process, SmallDisk, dies_in
from benchmarks.retraining_watch import MODEL, Watch, described
from features.errors import MalTfError
from pipelines.retrain.config import load
from pipelines.retrain.history import ABANDONED, FAILED, RUNNING
from pipelines.retrain.schedule import PUSHED, REFUSED

#: What a run's log says when a stage begins, and what the history calls the stage; a push says nothing.
_STAGES = {
    "label": "labels: started",
    "check": "statistics: started",
    "train": f"train/{MODEL}: started",
    "export": f"export/{MODEL}: started",
    "judge": "judge: started",
    "bless": "bless: started",
    "infra": "infra: started",
}

#: A day is few steps, each span's optimisers begin anew: with the default rates the model's level follows the last hours.
_STEADY = ("training.learning_rate=0.0003", "training.embedding_learning_rate=0.02")

#: Of the market.
CLICKS_PER_DAY = 12_000

#: Bytes that a disk has left where a model does not fit, and the history does.
_LITTLE = 256 << 10


@dataclasses.dataclass
class Row:
    """A run: span, what was planted, exit code, what it said, what served after, its id in the history, where it was killed."""

    span: str
    planted: str
    code: int
    said: str
    serves: str
    run: int | None
    killed_in: str = ""


class Month:
    """A schedule on a simulated market, run by run.

    Attributes:
        market: whose logs are read.
        watch: what must hold after each run.
        disk: that the schedule's root is on; None where it can't be made.
        rows: of the table.
        wrong: what was not as it must be, by part.
        made: the table, at the end.
        day: number of the next span's.
        set: overrides of the schedule.
    """

    def __init__(self, directory: pathlib.Path, days: int, clicks_per_day: int, shown):
        self.directory, self.shown = directory, shown
        self.market = Market(directory / "market", days, clicks_per_day)
        root = directory / "root"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        self.disk = SmallDisk.made(root)
        self.schedule = directory / "schedule.yaml"
        files = {name: f"sources.{name}.files=['{name}-{{date}}-*.parquet']" for name in ("clicks", "conversions")}
        config = {
            "name": "month",
            "run": str(self.market.logs / "config.yaml"),
            "overrides": [*files.values(), f"model.name={MODEL}", "model.compare_with=[]", *_STEADY],
            "root": str(root),
            "first_day": str(self.market.first_day),
            "gates": {"floors": {"auc": 0.6}, "allowed_loss": {"auc": 0.02, "log_loss": 0.01}},
            "infra": {"calls": 20},
        }
        self.schedule.write_text(yaml.safe_dump(config, sort_keys=False))
        self.watch = Watch(load(str(self.schedule))[0])
        self.rows, self.wrong, self.made = [], [], None
        self.day, self.set, self.generator = FIRST_SPAN, [], np.random.default_rng(7)

    def arrive(self, **spoilt) -> str:
        """Brings the next day's logs, see `Market.arrive`; its span."""
        day = self.market.day(self.day)
        self.market.arrive(day, **spoilt)
        self.day += 1
        return str(day)

    def start(self, span: str, *more: str, clock: str = "", program: str = "") -> Process:
        """Starts a span's run."""
        words = ["retrain", str(self.schedule), "--span", span, *more]
        words += [word for override in self.set for word in ("--set", override)]
        log = self.directory / "logs" / f"{len(self.rows):02}-{span}.log"
        return Process(words, log, clock, program)

    def run(self, span: str, planted: str, code: int = 0, reason: str = "", *more: str, clock: str = "") -> None:
        """Runs a span to its end, which must be a push (0), a refusal (3) or another one, and say the reason."""
        known = len(self.watch.runs())
        self.ended(self.start(span, *more, clock=clock), span, planted, code, reason, known)

    def ended(self, process: Process, span: str, planted: str, code: int, reason: str, known: int | None) -> None:
        """Waits for a run and checks what it left.

        Args:
            process: the run's.
            span: day.
            planted: words for the table.
            code: exit code that it must have.
            reason: that must be among its reasons.
            known: runs that the history had before; None if this one is not to be in it.
        """
        shown = process.wait()
        serves = self.watch.check(span if process.code == 0 else "")
        run = None if known is None else self._recorded(span, known)
        self._row(span, planted, process, serves, run)
        assert process.code == code and reason in shown and "Traceback" not in shown, shown
        if run:
            outcome = {0: PUSHED, 3: REFUSED}.get(code, FAILED)
            assert run.outcome == outcome and reason in "\n".join(run.reasons), described(run)

    def killed(self, span: str, stage: str, delay: float = 0.0) -> None:
        """Starts a span's run that is killed so long after a stage began, at its end at the latest, or in the midst of a push."""
        known = len(self.watch.runs())
        process = self.start(span, program=DIES_IN_PUSH if stage == "push" else dies_in(stage, delay))
        shown = process.wait()
        serves, run = self.watch.check(), self._recorded(span, known)
        self._row(span, f"SIGKILL in {stage}", process, serves, run, killed_in=stage)
        assert process.code == -signal.SIGKILL and run.outcome == RUNNING, shown

    def filled(self, span: str, stage: str | None, left: int) -> None:
        """Runs a span on a disk that fills up as a stage begins (None: that is full from the start)."""
        runs = len(self.watch.runs())
        if stage is None:
            self.disk.fill(left)
        process = self.start(span)
        if stage:
            process.until(lambda: _STAGES[stage] in process.shown())
            self.disk.fill(left)
        shown = process.wait()
        self.disk.free()
        found = self.watch.runs()
        planted = f"disk full {f'as {stage} begins' if stage else 'from the start'}"
        self._row(span, planted, process, self.watch.check(), found[-1] if len(found) > runs else None)
        assert process.code == 1 and "Traceback" not in shown and ("space" in shown or "full" in shown), shown

    def table(self) -> tables.Table:
        """All runs; what became of killed ones is known once the next has begun."""
        found = {run.id: run for run in self.watch.runs()}
        rows = []
        for row in self.rows:
            run = found.get(row.run)
            if run and (run.outcome == RUNNING or (row.killed_in and not _abandoned(run, row.killed_in))):
                self.wrong.append(f"{row.span}, {row.planted}: {described(run)}")
            said = described(run) if run else f"(not in the history) {row.said}"
            rows.append((row.span, row.planted, str(row.code), said, row.serves))
        return tables.Table(
            "A month with planted faults",
            ("span", "planted", "exit code", "outcome, first reason", "serves then"),
            rows,
        )

    def _recorded(self, span: str, known: int):
        found = self.watch.runs()
        assert len(found) == known + 1 and found[-1].span == span, list(map(described, found[known:]))
        return found[-1]

    def _row(self, span: str, planted: str, process: Process, serves: str, run, killed_in: str = "") -> None:
        said = described(run) if run else process.last_words()
        self.rows.append(Row(span, planted, process.code, said, serves, run.id if run else None, killed_in))
        code, moment = process.code, datetime.datetime.now().strftime("%H:%M:%S")
        self.shown.print(f"{moment} {span} [{planted}] {code}: {said}; serves {serves}", markup=False, soft_wrap=True)


def _abandoned(run, stage: str) -> bool:
    return run.outcome == ABANDONED and run.reasons[0].startswith(f"{stage}: ")


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
    one.until(lambda: _STAGES["label"] in one.shown())
    other = Process(["retrain", str(month.schedule), "--span", span], month.directory / "logs" / f"{span}-second.log")
    month.ended(other, span, "a second run at the same time", 75, "is in use by process", None)
    month.ended(one, span, "the first of the two", 0, "", known)


def kills(month: Month, stages: Sequence[str] = (*_STAGES, "push")) -> None:
    """A run is killed in each stage, each time started again."""
    span = month.arrive()
    longest = {"label": 3.0, "check": 3.0, "train": 8.0, "export": 8.0, "infra": 8.0}
    for stage in stages:
        month.killed(span, stage, month.generator.random() * longest.get(stage, 0.0))
    month.run(span, "started again")


def schema_change(month: Month) -> None:
    """A day's clicks come without a column, then with another type, and are right the day after."""
    span = month.arrive(clicks=retraining_market.without_channel)
    day = datetime.date.fromisoformat(span)
    month.run(span, "clicks without the column 'channel'", 3, "column 'channel' of the clicks table is missing")
    month.market.arrive(day, clicks=retraining_market.price_as_text)
    month.run(span, "clicks whose 'price' is text", 3, "feature column 'price' is not a number")
    month.market.arrive(day)
    month.run(month.arrive(), f"{span} is delivered again, right")


def drift(month: Month) -> None:
    """A day's prices are in cents."""
    spoilt = month.arrive(clicks=retraining_market.price_in_cents)
    month.run(spoilt, "prices of the day are in cents; its labels are not final yet")
    month.run(month.arrive(), f"{spoilt} would judge", 3, "price")
    month.run(month.arrive(), f"{spoilt} would train, and is left out")


def poison(month: Month) -> None:
    """A day's conversions go to random clicks."""
    day = month.market.day(month.day)
    spoilt = month.arrive(conversions=retraining_market.random_credit(month.market.clicks(day)))
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
        raise MalTfError(f"--parts: unknown part '{unknown[0]}'; there are: {', '.join(known)}")
    shown, told = tables.console(), tables.machine()
    chosen = [known[name] for name in parts.split(",")] if parts else PARTS
    month = simulate(output.resolve(), chosen, 29, CLICKS_PER_DAY, shown)
    tables.report(shown, told, [month.made], markdown)
    if month.wrong:
        raise MalTfError("\n".join(["not as it must be:", *month.wrong]))


if __name__ == "__main__":
    tables.run(main)
