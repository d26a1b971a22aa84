"""Checks that the working tree makes the same outputs as another commit: `python -m benchmarks.golden --against REV`.

Both run the same small scenarios through the command line, in separate processes that import only their own modules. The
outputs are compared file by file: labels byte for byte, weights bit for bit, predictions and metrics to the last digit. The
exit code is 1 if anything differs, and the first difference is printed. Manifests, reports and logs are not compared, as they
contain times.
"""

import contextlib
import dataclasses
import fcntl
import fnmatch
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich.markup import escape

from benchmarks import golden_names, golden_trees, tables
from benchmarks.golden_files import OutputFile
from benchmarks.golden_scenarios import INTERVALS, SCENARIOS, Artefact, Scenario
from benchmarks.golden_trees import Task
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from features.errors import MalTfError

#: Prints a line of progress.
Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of comparing an artefact.

    Attributes:
        scenario: name of the scenario.
        artefact: name of the artefact.
        files: number of files.
        compared: amount that was compared, with its unit.
        differences: a line for each file that differs or that only one commit made.
        notes: a line for each file of which a part was not compared.
        allowed: whether the artefact may differ.
    """

    scenario: str
    artefact: str
    files: int
    compared: str
    differences: Sequence[str] = ()
    notes: Sequence[str] = ()
    allowed: bool = False

    @property
    def result(self) -> str:
        """The result in a word or two."""
        if not self.differences:
            return "equal"
        return "differs, as allowed" if self.allowed else f"DIFFERS in {len(self.differences)}"


def compare(artefact: Artefact, scenario: str, before: pathlib.Path, after: pathlib.Path, allowed: bool = False) -> Row:
    """Compare the files of an artefact.

    Args:
        artefact: the artefact.
        scenario: name of the scenario.
        before: directory of the other commit's output.
        after: directory of the working tree's output.
        allowed: whether they may differ.
    """
    old, new = _files(artefact, before, golden_names.PATHS), _files(artefact, after)
    differences = [f"{name}: not there now" for name in old if name not in new]
    notes, compared = [], 0
    for name, path in new.items():
        if name not in old:
            differences.append(f"{name}: not there before")
            continue
        comparison = artefact.compare(OutputFile(old[name], before), OutputFile(path, after))
        compared += comparison.compared
        differences += [f"{name}: {comparison.difference}"] if comparison.difference else []
        notes += [f"{name}: {comparison.note}"] if comparison.note else []
    if not old and not new:
        differences = [f"{artefact.files}: no such file, before or now"]
    return Row(scenario, artefact.name, len(new), f"{compared:,} {artefact.unit}", differences, notes, allowed)


def _files(artefact: Artefact, root: pathlib.Path, renames: golden_names.Renames = ()) -> Mapping[str, pathlib.Path]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    named = {golden_names.today(path.relative_to(root).as_posix(), renames): path for path in paths}
    return {name: path for name, path in named.items() if fnmatch.fnmatchcase(name, artefact.files)}


def results_table(rows: Sequence[Row], title: str) -> Table:
    """Build the table of artefacts: how much was compared, and whether it is equal."""
    cells = [[f"{row.scenario}: {row.artefact}", f"{row.files:,}", row.compared, row.result] for row in rows]
    return Table(title, ["artefact", "files", "compared", "result"], cells)


def details(rows: Sequence[Row], most: int = 1) -> Iterator[str]:
    """Yield lines on where artefacts differ, for the first files of each, and on what was not compared."""
    for row in rows:
        for label, lines in ((row.result, row.differences), ("not compared", row.notes)):
            for line in lines[:most]:
                yield f"{row.scenario}, {row.artefact}: {label}: {line}"
            if len(lines) > most:
                yield f"{row.scenario}, {row.artefact}: … and in {len(lines) - most} more"


def make(
    root: pathlib.Path, commit: str, scenarios: Sequence[Scenario], place: pathlib.Path, jobs: int, say: Say
) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
    """Runs scenarios with a commit, unless its output is in `place` already, and with the working tree.

    Args:
        root: of the repository.
        commit: full hash of the other commit.
        scenarios: which.
        place: directory of all outputs.
        jobs: how many scenarios run at a time.
        say: takes lines for people.

    Returns:
        Each scenario's outputs, of the commit and of the working tree.
    """
    kept = {one.name: place / commit[:12] / f"{one.name}-{golden_trees.fingerprint(one, root)}" for one in scenarios}
    outs = {name: (path, place / "working-tree" / name) for name, path in kept.items()}
    with tempfile.TemporaryDirectory(prefix="mal-tf-golden-") as temporary:
        now = golden_trees.copy(root, pathlib.Path(temporary))
        tasks = [Task(one, now, outs[one.name][1], say) for one in scenarios]
        if missing := [one for one in scenarios if not golden_trees.is_done(outs[one.name][0])]:
            then = golden_trees.check_out(root, commit, pathlib.Path(temporary))
            tasks = [*(Task(one, then, outs[one.name][0], say) for one in missing), *tasks]
        for one in scenarios:
            if one not in missing:
                say(f"{one.name}, {commit[:12]}: kept from an earlier run")
        golden_trees.run(tasks, jobs, say)
    return outs


@contextlib.contextmanager
def _alone(place: pathlib.Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with open(place / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MalTfError(
                f"{place} is in use by another golden run; wait for it or choose another --keep"
            ) from error
        yield


def main(
    against: Annotated[str, typer.Option(help="Commit to compare with.")] = "HEAD~1",
    only: Annotated[list[str], typer.Option(help=f"Scenarios to run: {', '.join(SCENARIOS)}; all if not given.")] = [],  # noqa: B006
    intervals_may_differ: Annotated[
        bool, typer.Option("--intervals-may-differ", help="Allow bootstrap intervals and p-values to differ.")
    ] = False,
    keep: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Directory that keeps outputs, so that the other commit's are reused. By default a temporary one."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of scenarios that run in parallel, on a core each.")] = 2,
) -> None:
    """Compare the working tree's outputs with another commit's."""
    if unknown := sorted(set(only) - set(SCENARIOS)):
        raise typer.BadParameter(f"--only {unknown[0]}: expected one of {', '.join(SCENARIOS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Ends running commands and removes temporary files.
    chosen = [scenario for name, scenario in SCENARIOS.items() if not only or name in only]
    shown, began = tables.console(), time.monotonic()

    def say(line: str) -> None:
        shown.print(f"{time.monotonic() - began:5,.0f} s  {escape(line)}", soft_wrap=True, highlight=False)

    commit = golden_trees.commit_of(ROOT, against)
    with tempfile.TemporaryDirectory(prefix="mal-tf-golden-") as temporary:
        place = (keep or pathlib.Path(temporary)).absolute()
        with _alone(place):
            outs = make(ROOT, commit, chosen, place, jobs, say)
            rows = [
                compare(one, scenario.name, *outs[scenario.name], one.name == INTERVALS and intervals_may_differ)
                for scenario in chosen
                for one in scenario.artefacts
            ]
    tables.show(shown, results_table(rows, f"The working tree against {commit[:12]} ({against})"))
    for line in details(rows):
        shown.print(escape(line), soft_wrap=True, highlight=False)
    wrong, allowed = ([row for row in rows if row.differences and row.allowed == may] for may in (False, True))
    say(f"{len(wrong)} of {len(rows)} artefacts differ" if wrong else f"{len(rows) - len(allowed)} artefacts are equal")
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    tables.run(main)
