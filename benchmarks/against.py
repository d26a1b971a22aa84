"""Compares the label job with that of another commit: both run in turn on the same logs, each with its own code."""

import pathlib
import shutil
import statistics
from collections.abc import Callable, Mapping

from benchmarks import golden_trees, measure
from benchmarks.measure import Measured
from benchmarks.tables import Table

#: Runs of each commit on each log.
ROUNDS = 3


def compare(
    revision: str, logs: Mapping[int, pathlib.Path], folder: pathlib.Path, say: Callable[[str], object]
) -> Table:
    """Run the label job of a commit and of the working tree with one worker, and build the table of medians and ratios.

    Args:
        revision: the commit.
        logs: directory of the logs and their config, by number of clicks.
        folder: directory for the code and the outputs.
        say: prints a line of progress.

    Raises:
        MalTfError: there is no such commit, or a job failed.
    """
    commit, code = golden_trees.commit_of(measure.ROOT, revision), folder / "code"
    shutil.rmtree(code, ignore_errors=True)
    code.mkdir()
    trees = golden_trees.check_out(measure.ROOT, commit, code), golden_trees.copy(measure.ROOT, code)
    medians = {}
    for clicks, place in sorted(logs.items()):
        runs: list[list[Measured]] = [[], []]
        for number in range(ROUNDS):
            for tree, found in zip(trees, runs, strict=True):
                found.append(_run(tree, place, folder))
                say(f"{tree.name}, {clicks:,} clicks, round {number + 1}: {found[-1].cpu_seconds:,.1f} CPU s")
        medians[clicks] = [
            statistics.median(getattr(one, clock) for one in found)
            for clock in ("cpu_seconds", "seconds")
            for found in runs
        ]
    rows = [_row(f"{clicks:,}", *found) for clicks, found in medians.items()]
    if len(logs) > 1:
        less, more = min(logs), max(logs)
        costs = [(b - a) / (more - less) * 1e6 for a, b in zip(medians[less], medians[more], strict=True)]
        rows.append(_row("µs per further click", *costs))
    columns = ["clicks", f"{trees[0].name}, CPU s", "CPU s", "ratio", f"{trees[0].name}, seconds", "seconds", "ratio"]
    return Table(
        "The label job against another commit", columns, rows, f"Medians of {ROUNDS} rounds in turn, one worker."
    )


def _row(what: str, *values: float) -> list[str]:
    cpu, own_cpu, wall, own_wall = values
    return [what, *(f"{value:,.2f}" for value in (cpu, own_cpu, cpu / own_cpu, wall, own_wall, wall / own_wall))]


def _run(tree: golden_trees.Tree, logs: pathlib.Path, folder: pathlib.Path) -> Measured:
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    words = ["labels", str(logs / "config.yaml"), "--output", str(output)]
    command = ["env", "-C", str(tree.root), f"PYTHONPATH={tree.path}", *tree.program(), *words]
    return measure.run(command, folder / "output.log")
