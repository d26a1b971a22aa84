"""Measures the input pipeline alone, on one core, from TFRecords to batches: `python -m benchmarks.input CONFIG`."""

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

#: Factor between the two sizes of data that memory is compared at.
_MORE = 4


@dataclasses.dataclass(frozen=True)
class Reading:
    """Speed and memory of one process that reads the split.

    Attributes:
        rate: examples per second of processor time.
        wall: examples per second of wall-clock time.
        peak: peak memory in bytes.
    """

    rate: float
    wall: float
    peak: int


def read(settings: Settings, folder: pathlib.Path) -> Reading:
    """Read the split in a fresh process."""
    settings_file, result_file = folder / "settings.json", folder / "result.json"
    settings_file.write_text(json.dumps(dataclasses.asdict(settings)))
    command = [sys.executable, "-m", "benchmarks.input_process", str(settings_file), str(result_file)]
    measured = measure.run(command, folder / "output.log")
    result = json.loads(result_file.read_text())
    return Reading(result["examples"] / result["cpu_seconds"], result["examples"] / result["seconds"], measured.peak)


def rates_table(readings_by_name: dict[str, list[Reading]]) -> Table:
    """Build the table of each contender's medians of the rounds."""
    ours, rows = statistics.median(reading.rate for reading in readings_by_name["ours"]), []
    for name, readings in readings_by_name.items():
        rate, wall = (statistics.median(getattr(reading, key) for reading in readings) for key in ("rate", "wall"))
        rows.append([name, f"{rate:,.0f}", f"{1e6 / rate:.2f}", f"{wall:,.0f}", f"{ours / rate:.2f}"])
    columns = ["reading", "examples per core second", "µs per example", "examples/s, wall", "ours ÷ it"]
    return Table(
        "Input, one core", columns, rows, "Medians. A core second is one of processor time, whatever else runs."
    )


def memory_table(by_size: dict[int, Reading]) -> Table:
    """Build the table of peak memory by size of the data."""
    rows = [[f"{examples:,}", f"{reading.peak / 2**20:,.0f}"] for examples, reading in by_size.items()]
    return Table("Memory of ours against the size of the data", ["examples", "peak MiB"], rows)


def main(
    config: Annotated[str, typer.Argument(help="A run's YAML file.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of it.")] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds, each with all contenders.")] = 3,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Directory to work in, which keeps the labels for the next time. By default a temporary one."
        ),
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
        readings: dict[str, list[Reading]] = {name: [] for name in CONTENDERS}
        for number in range(rounds):
            for name in CONTENDERS:
                console.print(escape(f"round {number + 1} of {rounds}: {name}"))
                readings[name].append(read(dataclasses.replace(settings, contender=name), place))
        more = read(dataclasses.replace(settings, repeat=_MORE), place)
    shown_tables = [rates_table(readings), memory_table({rows: readings["ours"][-1], rows * _MORE: more})]
    tables.report(console, where, shown_tables, markdown)


if __name__ == "__main__":
    tables.run(main)
