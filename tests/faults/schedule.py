"""A schedule of daily retraining on a simulated market, run by run, with a check of what each run leaves."""

import dataclasses
import datetime
import pathlib
import shutil
import signal

import numpy as np
import yaml

from pipelines.core.text_table import Table
from pipelines.retrain.config import load
from pipelines.retrain.history import ABANDONED, FAILED, RUNNING
from pipelines.retrain.schedule import PUSHED, REFUSED
from tests.faults.market import FIRST_SPAN, Market
from tests.faults.processes import DIES_IN_PUSH, Process, SmallDisk, dies_in
from tests.faults.watch import MODEL, Watch, described

#: What a run's log says when a stage begins, and what the history calls the stage; a push says nothing.
STAGES = {
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
            process.until(lambda: STAGES[stage] in process.shown())
            self.disk.fill(left)
        shown = process.wait()
        self.disk.free()
        found = self.watch.runs()
        planted = f"disk full {f'as {stage} begins' if stage else 'from the start'}"
        self._row(span, planted, process, self.watch.check(), found[-1] if len(found) > runs else None)
        assert process.code == 1 and "Traceback" not in shown and ("space" in shown or "full" in shown), shown

    def table(self) -> Table:
        """All runs; what became of killed ones is known once the next has begun."""
        found = {run.id: run for run in self.watch.runs()}
        rows = []
        for row in self.rows:
            run = found.get(row.run)
            if run and (run.outcome == RUNNING or (row.killed_in and not _abandoned(run, row.killed_in))):
                self.wrong.append(f"{row.span}, {row.planted}: {described(run)}")
            said = described(run) if run else f"(not in the history) {row.said}"
            rows.append((row.span, row.planted, str(row.code), said, row.serves))
        return Table(
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
