"""Measures all metrics, and compares GAUC with the usual loop over users: `python -m benchmarks.metrics`.

The first table has seconds and memory of all metrics on many clicks of many users. The second compares GAUC with a call of
scikit-learn's `roc_auc_score` for each of pandas' groups, on fewer clicks, as the loop takes minutes. Both run in fresh
processes.
"""

import json
import pathlib
import sys
import tempfile
from typing import Annotated

import typer

from benchmarks import measure, tables
from benchmarks.tables import Table

#: Goals: seconds and GiB of all metrics for 10 M clicks of 1 M users, and how many times as long as ours the loop takes.
_SECONDS, _GIB, _RATIO = 30, 4, 300

_NAMES = {
    "all": "all metrics",
    "all, float64": "all metrics, predictions of float64",
    "gauc": "GAUC alone",
    "auc": "AUC alone",
    "log_loss": "log-loss alone",
    "pcoc": "PCOC alone",
    "calibration_error": "ECE alone",
}


def run_process(work: str, rows: int, users: int, rounds: int) -> tuple[dict[str, float], measure.Measured]:
    """Run `benchmarks.metrics_process` and return its result, and the time and memory of its process."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.metrics_process",
            work,
            *map(str, (rows, users, rounds)),
        ]
        cost = measure.run(command, log)
        return json.loads(log.read_text().splitlines()[-1]), cost


def size_table(seconds: dict[str, float], peak: int, rows: int, users: int, rounds: int) -> Table:
    """Build the table of each metric's seconds."""
    goal = (
        f"Goal: all within {_SECONDS} s and {_GIB} GiB, "
        + ("met." if seconds["all"] <= _SECONDS and peak <= _GIB << 30 else "not met.")
        if (rows, users) == (10_000_000, 1_000_000)
        else "The goal is for 10 M clicks of 1 M users."
    )
    return Table(
        f"{rows:,} clicks of {users:,} users",
        ["metric", "seconds", "million clicks/s"],
        [[title, f"{seconds[name]:.2f}", f"{rows / seconds[name] / 1e6:,.2f}"] for name, title in _NAMES.items()],
        f"Median of {rounds} rounds, one process; its peak memory, clicks and libraries included: {peak / 2**30:.2f} GiB. {goal}",
    )


def loop_table(seconds: dict[str, float], rows: int, users: int, rounds: int) -> Table:
    """Build the table that compares our GAUC with the loop."""
    ratio = seconds["loop"] / seconds["ours"]
    return Table(
        f"GAUC of {rows:,} clicks of {users:,} users",
        ["", "seconds", "loop ÷ it"],
        [
            ["GAUC, ours", f"{seconds['ours']:.3f}", f"{ratio:,.0f}"],
            ["all metrics, ours", f"{seconds['all']:.3f}", f"{seconds['loop'] / seconds['all']:,.0f}"],
            ["GAUC, scikit-learn per user", f"{seconds['loop']:.1f}", "1"],
        ],
        f"Ours: median of {rounds} rounds; the loop: one. The same clicks in the same process; the two GAUCs differ by "
        f"{seconds['difference']:.1g}. Goal: {_RATIO} times, {'met' if ratio >= _RATIO else 'not met'}.",
    )


def main(
    rows: Annotated[int, typer.Option(min=1, help="Number of clicks of the large measurement.")] = 10_000_000,
    users: Annotated[int, typer.Option(min=1, help="Number of their users.")] = 1_000_000,
    loop_rows: Annotated[
        int, typer.Option(min=1, help="Number of clicks of the comparison with the loop.")
    ] = 1_000_000,
    loop_users: Annotated[int, typer.Option(min=1, help="Number of their users.")] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds of our metrics.")] = 3,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Time all metrics, and GAUC against the usual loop. Takes about 6 minutes."""
    machine = tables.machine()
    large, cost = run_process("all", rows, users, rounds)
    small, _ = run_process("loop", loop_rows, loop_users, rounds)
    shown = [size_table(large, cost.peak, rows, users, rounds), loop_table(small, loop_rows, loop_users, rounds)]
    tables.report(tables.console(), machine, shown, markdown)


if __name__ == "__main__":
    tables.run(main)
