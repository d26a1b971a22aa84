"""The metrics against the usual loop: `python -m benchmarks.metrics`.

All metrics of many clicks of many users, seconds and memory; and GAUC against scikit-learn's `roc_auc_score` for each of
pandas' groups, on fewer clicks, as the loop takes minutes for them. Either runs in a process of its own.
"""

import json
import pathlib
import sys
import tempfile
from typing import Annotated

import typer

from benchmarks import measure, tables
from benchmarks.tables import Table

#: What all metrics of 10 M clicks of 1 M users may take, and what the loop has to take of ours.
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


def measured(what: str, rows: int, users: int, rounds: int) -> tuple[dict[str, float], measure.Measured]:
    """What `benchmarks.metrics_process` found, and what its process took."""
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "benchmarks.metrics_process",
            what,
            *map(str, (rows, users, rounds)),
        ]
        took = measure.run(command, log)
        return json.loads(log.read_text().splitlines()[-1]), took


def size_table(found: dict[str, float], peak: int, rows: int, users: int, rounds: int) -> Table:
    """Seconds of each metric."""
    goal = (
        f"Goal: all within {_SECONDS} s and {_GIB} GiB, "
        + ("met." if found["all"] <= _SECONDS and peak <= _GIB << 30 else "not met.")
        if (rows, users) == (10_000_000, 1_000_000)
        else "The goal is for 10 M clicks of 1 M users."
    )
    return Table(
        f"{rows:,} clicks of {users:,} users",
        ["metric", "seconds", "million clicks/s"],
        [[said, f"{found[name]:.2f}", f"{rows / found[name] / 1e6:,.2f}"] for name, said in _NAMES.items()],
        f"Median of {rounds} rounds, one process; its peak memory, clicks and libraries included: {peak / 2**30:.2f} GiB. {goal}",
    )


def loop_table(found: dict[str, float], rows: int, users: int, rounds: int) -> Table:
    """Ours against the loop."""
    ratio = found["loop"] / found["ours"]
    return Table(
        f"GAUC of {rows:,} clicks of {users:,} users",
        ["", "seconds", "loop ÷ it"],
        [
            ["GAUC, ours", f"{found['ours']:.3f}", f"{ratio:,.0f}"],
            ["all metrics, ours", f"{found['all']:.3f}", f"{found['loop'] / found['all']:,.0f}"],
            ["GAUC, scikit-learn per user", f"{found['loop']:.1f}", "1"],
        ],
        f"Ours: median of {rounds} rounds; the loop: one. The same clicks in the same process; the two GAUCs differ by "
        f"{found['difference']:.1g}. Goal: {_RATIO} times, {'met' if ratio >= _RATIO else 'not met'}.",
    )


def main(
    rows: Annotated[int, typer.Option(min=1, help="Clicks of the large measurement.")] = 10_000_000,
    users: Annotated[int, typer.Option(min=1, help="Their users.")] = 1_000_000,
    loop_rows: Annotated[int, typer.Option(min=1, help="Clicks that the loop has to do.")] = 1_000_000,
    loop_users: Annotated[int, typer.Option(min=1, help="Their users.")] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, help="Of ours.")] = 3,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Write the tables to this file too.")] = None,
) -> None:
    """Time all metrics, and GAUC against the usual loop; about 6 minutes."""
    told = tables.machine()
    large, took = measured("all", rows, users, rounds)
    beside, _ = measured("loop", loop_rows, loop_users, rounds)
    made = [size_table(large, took.peak, rows, users, rounds), loop_table(beside, loop_rows, loop_users, rounds)]
    tables.report(tables.console(), told, made, markdown)


if __name__ == "__main__":
    tables.run(main)
