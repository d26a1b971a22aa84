"""Compares `mal-tf evaluate` in one process with its Beam job on a finished run: seconds, CPU time and memory.

Also prints the largest difference between any of their results.
"""

import json
import math
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from benchmarks import measure, tables
from benchmarks.tables import Table
from features.errors import MalTfError


def numbers(result: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and the value of every number in a `metrics.json`."""
    if isinstance(result, dict):
        for name, value in result.items():
            yield from numbers(value, f"{where}/{name}")
    elif isinstance(result, list):
        for number, value in enumerate(result):
            yield from numbers(value, f"{where}/{number}")
    elif isinstance(result, float | int):
        yield where, float(result)


def farthest(local: dict, job: dict) -> str:
    """Describe the largest difference between two results, relative to the local value, and where it is.

    Raises:
        MalTfError: the results do not have the same numbers.
    """
    one, other = dict(numbers(local)), dict(numbers(job))
    if one.keys() != other.keys():
        raise MalTfError(f"the results have different numbers: {sorted(one.keys() ^ other.keys())[:5]}")
    differences = {path: _relative_difference(value, other[path]) for path, value in one.items()}
    path = max(differences, key=differences.get)
    return f"{len(one):,} numbers, relative difference at most {differences[path]:.1e}, at {path}"


def _relative_difference(local: float, job: float) -> float:
    if job == local:
        return 0.0
    return abs(job / local - 1) if local else math.inf


def main(
    config: Annotated[str, typer.Argument(help="A run's YAML file.")],
    run: Annotated[pathlib.Path, typer.Argument(help="The run's directory, with its labels and exports.")],
    split: Annotated[str, typer.Option(help="Split whose clicks are evaluated: eval or train.")] = "train",
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Evaluate a run's exports on a split of its labels, both ways."""
    shown, machine = tables.console(), tables.machine()
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "evaluate", config]
    command += ["--split", split, "--labels", str(run / "labels"), *(f"--set={one}" for one in set_)]
    command += [f"--model={one.name}={one}" for one in sorted((run / "serving").iterdir())]
    measurements, results = [], []
    with tempfile.TemporaryDirectory(prefix="mal-tf-evaluation-") as temporary:
        for flags in ([], ["--distributed"]):
            log = pathlib.Path(temporary, "output.log")
            with shown.status(" ".join(["evaluate", *flags])):
                measurements.append(measure.run([*command, "--output", f"{temporary}/run", *flags], log))
            (path,) = re.findall(
                r"^\S+/metrics\.json", log.read_text(), re.MULTILINE
            )  # The command prints where it wrote.
            results.append(json.loads(pathlib.Path(path).read_text()))
    clicks = next(iter(results[0]["models"].values()))["clicks"]
    rows = []
    for name, one in zip(("in one process", "Beam job, here"), measurements, strict=True):
        seconds, ratio = f"{one.seconds:.1f}", f"{one.seconds / measurements[0].seconds:.2f}"
        rows.append([name, seconds, ratio, f"{one.cpu_seconds:.1f}", f"{one.peak / 2**30:.2f}"])
    table = Table(
        f"{len(results[0]['models'])} models on {clicks:,} mature clicks",
        ["mal-tf evaluate", "seconds", "ratio", "CPU seconds", f"peak {measure.memory_kind()}, GiB"],
        rows,
        f"The two: {farthest(*results)}.",
    )
    tables.report(shown, machine, [table], markdown)


if __name__ == "__main__":
    tables.run(main)
