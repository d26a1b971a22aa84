"""Training and inference from TFRecords, reading included: `python -m benchmarks.end_to_end CONFIG`.

Every measurement is made in a process of its own; models take turns, and the median of the rounds counts.
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

#: PyMAL's examples per second, training and inference, from its own preprocessed files: quoted from the project's issue 5,
#: not measured here.
PYMAL = {"base": (7_100, 11_900), "natal": (6_000, 11_600), "moae": (4_500, 10_100)}

#: Times PyMAL's that ours are to be.
GOALS = {"training": 3, "inference": 4}


def goals_table(rates: dict[str, dict[str, float]], batch_size: int) -> Table:
    """Each model's rates beside PyMAL's as quoted."""
    rows = []
    for model, found in rates.items():
        for (kind, goal), quoted in zip(GOALS.items(), PYMAL[model], strict=True):
            times = found[kind] / quoted
            met = "met" if times >= goal else "not met"
            rows.append(
                (f"{TITLES[model]}, {kind}", f"{found[kind]:,.0f}", f"{quoted:,}", f"{times:.2f}", f"{goal} ×", met)
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
    rounds: Annotated[int, typer.Option(min=1, help="Of all models in turn.")] = 3,
    times: Annotated[int, typer.Option(min=2, help="How often the longer pass reads the split.")] = 2,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(help="Work here and keep the labels for the next time; temporary if not given."),
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
        asked = {"config": str(pathlib.Path(config).absolute()), "overrides": set_, "labels": labels, "times": times}
        found: dict[str, list[dict]] = {model: [] for model in PYMAL}
        for number in range(rounds):
            for model in PYMAL:
                console.print(escape(f"round {number + 1} of {rounds}: {model}"))
                found[model].append(measure("files", model=model, **asked))
    medians = {
        model: {kind: statistics.median(once[kind] for once in of_one) for kind in GOALS}
        for model, of_one in found.items()
    }
    tables.report(console, where, [goals_table(medians, loaded.training.batch_size)], markdown)


if __name__ == "__main__":
    tables.run(main)
