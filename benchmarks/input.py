"""The input pipeline alone, on one core: TFRecords to batches of rows and labels: `python -m benchmarks.input CONFIG`."""

import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile
from typing import Annotated

import typer
from rich.markup import escape

from benchmarks import measure, tables
from benchmarks.input_process import CONTENDERS, Settings
from benchmarks.tables import Table
from pipelines.clicks import labelled
from pipelines.config.run import load
from pipelines.run.run import Run

#: How many times as much data the memory is compared at.
_MORE = 4


@dataclasses.dataclass(frozen=True)
class Reading:
    """One process's reading.

    Attributes:
        rate: examples per second of its core's time.
        wall: examples per second.
        peak: its memory, in bytes.
    """

    rate: float
    wall: float
    peak: int


def read(settings: Settings, folder: pathlib.Path) -> Reading:
    """Reads in a process of its own."""
    asked, answered = folder / "settings.json", folder / "result.json"
    asked.write_text(json.dumps(dataclasses.asdict(settings)))
    command = [sys.executable, "-m", "benchmarks.input_process", str(asked), str(answered)]
    measured = measure.run(command, folder / "output.log")
    found = json.loads(answered.read_text())
    return Reading(found["examples"] / found["cpu_seconds"], found["examples"] / found["seconds"], measured.peak)


def rates_table(found: dict[str, list[Reading]]) -> Table:
    """Medians of the rounds, by contender."""
    ours, rows = statistics.median(reading.rate for reading in found["ours"]), []
    for name, readings in found.items():
        rate, wall = (statistics.median(getattr(reading, key) for reading in readings) for key in ("rate", "wall"))
        rows.append([name, f"{rate:,.0f}", f"{1e6 / rate:.2f}", f"{wall:,.0f}", f"{ours / rate:.2f}"])
    columns = ["reading", "examples per core second", "µs per example", "examples/s, wall", "ours ÷ it"]
    return Table(
        "Input, one core", columns, rows, "Medians. A core second is one of processor time, whatever else runs."
    )


def memory_table(by_size: dict[int, Reading]) -> Table:
    """Peak memory against the size of the data."""
    rows = [[f"{examples:,}", f"{reading.peak / 2**20:,.0f}"] for examples, reading in by_size.items()]
    return Table("Memory of ours against the size of the data", ["examples", "peak MiB"], rows)


def main(
    config: Annotated[str, typer.Argument(help="A run's YAML file.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of it.")] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Of all contenders in turn.")] = 3,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(help="Work here and keep the labels for the next time; temporary if not given."),
    ] = None,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Measure how fast the training split is read."""
    console, where = tables.console(), tables.machine()
    with tempfile.TemporaryDirectory(prefix="mal-tf-benchmark-") as temporary:
        place = (folder or pathlib.Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        loaded = load(config, set_)
        with Run(loaded, str(place / "run")).opened() as run:
            labels = run.labels()
        rows = labelled.load(labels, loaded.feature_spec).splits["train"].rows
        settings = Settings("ours", str(pathlib.Path(config).absolute()), set_, labels, loaded.training.batch_size, 1)
        found: dict[str, list[Reading]] = {name: [] for name in CONTENDERS}
        for number in range(rounds):
            for name in CONTENDERS:
                console.print(escape(f"round {number + 1} of {rounds}: {name}"))
                found[name].append(read(dataclasses.replace(settings, contender=name), place))
        more = read(dataclasses.replace(settings, repeat=_MORE), place)
    made = [rates_table(found), memory_table({rows: found["ours"][-1], rows * _MORE: more})]
    tables.report(console, where, made, markdown)


if __name__ == "__main__":
    tables.run(main)
