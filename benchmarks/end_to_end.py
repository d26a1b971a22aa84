"""Measures training and inference from TFRecords, including reading: `python -m benchmarks.end_to_end CONFIG`.

Every measurement is made in a fresh process. Models take turns, and the table has the medians of the rounds.
"""

import pathlib
import statistics
import tempfile
from typing import Annotated

import typer
from rich.markup import escape

from benchmarks import tables
from benchmarks.tables import Table
from benchmarks.train import TITLES, measure
from pipelines.config.run import load
from pipelines.run.run import Run

#: PyMAL's examples per second in training and inference, from its own preprocessed files: quoted, not measured here.
PYMAL = {"base": (7_100, 11_900), "natal": (6_000, 11_600), "moae": (4_500, 10_100)}

#: Goals, in multiples of PyMAL's rates.
GOALS = {"training": 3, "inference": 4}


def goals_table(rates: dict[str, dict[str, float]], batch_size: int) -> Table:
    """Build the table of each model's rates beside PyMAL's as quoted."""
    rows = []
    for model, model_rates in rates.items():
        for (kind, goal), quoted in zip(GOALS.items(), PYMAL[model], strict=True):
            multiple = model_rates[kind] / quoted
            verdict = "met" if multiple >= goal else "not met"
            rows.append(
                (
                    f"{TITLES[model]}, {kind}",
                    f"{model_rates[kind]:,.0f}",
                    f"{quoted:,}",
                    f"{multiple:.2f}",
                    f"{goal} ×",
                    verdict,
                )
            )
    return Table(
        f"Examples per second from files, batches of {batch_size:,}",
        ("", "ours", "PyMAL (quoted)", "× PyMAL", "goal", ""),
        rows,
        "Ours: gzip TFRecords of raw tokens, looked up on the way; training by `fit` as every run does it, inference by the "
        "signature serving_default. PyMAL: its preprocessed files of rows.",
    )


def main(
    config: Annotated[str, typer.Argument(help="A run's YAML file.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of it.")] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds, each with all models.")] = 3,
    times: Annotated[int, typer.Option(min=2, help="Number of times that the longer pass reads the split.")] = 2,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Directory to work in, which keeps the labels for the next time. By default a temporary one."
        ),
    ] = None,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Measure training and inference from files."""
    console, where = tables.console(), tables.machine()
    with tempfile.TemporaryDirectory(prefix="mal-tf-benchmark-") as temporary:
        place = (folder or pathlib.Path(temporary)).absolute()
        loaded = load(config, set_)
        with Run(loaded, str(place / "run")).opened() as run:
            labels = run.labels()
        settings = {"config": str(pathlib.Path(config).absolute()), "overrides": set_, "labels": labels, "times": times}
        measurements: dict[str, list[dict]] = {model: [] for model in PYMAL}
        for number in range(rounds):
            for model in PYMAL:
                console.print(escape(f"round {number + 1} of {rounds}: {model}"))
                measurements[model].append(measure("files", model=model, **settings))
    medians = {
        model: {kind: statistics.median(once[kind] for once in model_rounds) for kind in GOALS}
        for model, model_rounds in measurements.items()
    }
    tables.report(console, where, [goals_table(medians, loaded.training.batch_size)], markdown)


if __name__ == "__main__":
    tables.run(main)
