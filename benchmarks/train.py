"""Compares training and inference on batches in memory with plain Keras: `python -m benchmarks.train`.

The reference workload has the shape of the MAC data set (`benchmarks/mac_batches.py`), with PyMAL's settings. Every measurement
is made in a fresh process. Contenders take turns, and the tables have the medians of the rounds.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import mac_batches, tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from features.errors import MalTfError

#: PyMAL's examples per second in training and inference, with PyTorch 2.13 and 2 threads: quoted, not measured here.
PYMAL = {"base": (11_300, 43_000), "natal": (9_000, 34_000), "moae": (5_900, 21_000)}

#: Names of the models in tables.
TITLES = {"base": "BASE", "natal": "NATAL + CAT", "moae": "MoAE + CAT"}

#: Overrides of the training config in each variant of `natal`.
VARIANTS = {
    "tables: lazy_adam": {"embedding_optimizer": "lazy_adam"},
    "tables: adagrad": {"embedding_optimizer": "adagrad"},
    "xla: true": {"xla": True},
    "precision: bfloat16": {"precision": "bfloat16"},
}

#: Optimisers of embedding tables that are compared.
OPTIMIZERS = ("keras_adam", "adam", "lazy_adam", "adagrad", "clippy_adagrad", "sgd")


@dataclasses.dataclass(frozen=True)
class Rate:
    """Examples per second.

    Attributes:
        training: rate of `fit`.
        inference: rate of the primary head.
    """

    training: float
    inference: float


def goals_table(ours: dict[str, Rate], plain: dict[str, Rate]) -> Table:
    """Build the table of each model's rates beside plain Keras' of the same run and PyMAL's as quoted."""
    rows = []
    for model, own in ours.items():
        for kind, place in (("training", 0), ("inference", 1)):
            rate, other, quoted = getattr(own, kind), getattr(plain[model], kind), PYMAL[model][place]
            cells = (f"{rate:,.0f}", f"{other:,.0f}", f"{rate / other:.2f}", f"{quoted:,}", f"{rate / quoted:.2f}")
            rows.append((f"{TITLES[model]}, {kind}", *cells, "met" if rate >= 2 * quoted else "not met"))
    return Table(
        "Examples per second on ready batches of 4,096",
        ("", "ours", "plain Keras", "× plain Keras", "PyMAL (quoted)", "× PyMAL", "goal: 2 × PyMAL"),
        rows,
        "Ours: fit with dense Adam on all parts, ops deterministic. Plain Keras: an Embedding layer per feature, a Dense "
        "per layer, dense tf_keras Adam, fit. All with 2 threads. PyMAL: PyTorch 2.13, as quoted, not measured in this run.",
    )


def variants_table(natal: Rate, variants: dict[str, Rate]) -> Table:
    """Build the table of NATAL with other optimisers and compile options."""
    rows = [
        (name, f"{rate.training:,.0f}", f"{rate.training / natal.training:.2f}")
        for name, rate in ({"as above": natal} | variants).items()
    ]
    return Table("NATAL + CAT, other settings of `training`", ("", "training, examples/s", "× as above"), rows)


def optimizers_table(milliseconds: dict[tuple[str, int], float]) -> Table:
    """Build the table of each optimiser's cost per step by table size, and whether it grows with the table."""
    sizes = sorted({rows for _, rows in milliseconds})
    rows = []
    for name in dict.fromkeys(name for name, _ in milliseconds):
        costs = [milliseconds[name, size] for size in sizes]
        growth = costs[-1] / costs[0]
        # A pass over the whole table would cost as many times more as the table is larger. The threshold allows for noise.
        grows = "yes" if growth > (sizes[-1] / sizes[0]) ** 0.5 else "no"
        rows.append((name, *(f"{cost:,.1f}" for cost in costs), f"{growth:.1f}", grows))
    columns = ("optimiser", *(f"{size:,} rows, ms" for size in sizes), "ratio", "grows with the table")
    note = (
        "A step with the gradient of a batch of 4,096 clicks, 311,296 cells, 16 wide. keras_adam is tf_keras' own Adam."
    )
    return Table("Cost of a table's optimiser", columns, rows, note)


def profile_table(title: str, milliseconds: dict[str, float], top: int) -> Table:
    """Build the table of the largest shares of a step's time."""
    total = sum(milliseconds.values())
    kept = list(milliseconds.items())[:top]
    kept.append(("the rest", total - sum(value for _, value in kept)))
    rows = [(name, f"{value:,.1f}", f"{value / total:.0%}") for name, value in kept]
    return Table(title, ("", "ms per step", "share"), rows, "TensorFlow's profiler; summed over threads.")


def measure(what: str, **settings) -> dict:
    """Run `benchmarks.train_process` and return its result.

    Raises:
        MalTfError: the process failed; the error contains the end of its output.
    """
    command = [sys.executable, "-m", "benchmarks.train_process", json.dumps({"what": what} | settings)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise MalTfError(
            f"{' '.join(command)}\nended with {result.returncode}; the end of its output:\n{result.stderr[-3000:]}"
        )
    return json.loads(result.stdout.strip().splitlines()[-1])


def main(
    steps: Annotated[int, typer.Option(min=3, help="Number of steps of each measurement; the median counts.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="Number of measurements of each rate; the median counts.")] = 3,
    only: Annotated[list[str], typer.Option(help=f"Models: {', '.join(PYMAL)}; all if not given.")] = [],  # noqa: B006
    table_rows: Annotated[
        list[int], typer.Option(min=mac_batches.ACTIVE, help="Sizes of tables for the optimisers.")
    ] = [  # noqa: B006
        1_000_000,
        10_000_000,
    ],
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 17,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Measure training and inference on batches in memory."""
    unknown = sorted(set(only) - set(PYMAL))
    if unknown:
        raise typer.BadParameter(f"--only {unknown[0]}: expected one of {', '.join(PYMAL)}")
    models = [name for name in PYMAL if not only or name in only]
    rates = [(contender, model, {}) for model in models for contender in ("ours", "plain")]
    rates += [("ours", "natal", options) for options in VARIANTS.values() if "natal" in models]
    console, where = tables.console(), tables.machine()
    if os.getloadavg()[0] > 0.5:
        console.print("[yellow]Other processes keep this machine busy: all numbers will be off.[/]")
    parts = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*parts, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(rates) * rounds + len(OPTIMIZERS) * len(table_rows) + 1)

        def run_measurement(what: str, **settings) -> dict:
            shown = ", ".join(str(value) for value in settings.values() if value not in ({}, steps, seed))
            progress.update(task, description=escape(f"{what}: {shown}"))
            result = measure(what, **settings, steps=steps, seed=seed)
            progress.advance(task)
            return result

        measurements = [
            [run_measurement("rate", contender=who, model=model, training=options) for who, model, options in rates]
            for _ in range(rounds)
        ]
        costs = {
            (name, rows): run_measurement("optimizer", name=name, rows=rows)["milliseconds"]
            for name in OPTIMIZERS
            for rows in table_rows
        }
        profile = run_measurement("profile", model=models[-1])
    medians = [
        Rate(*(statistics.median(once[kind] for once in rounds_of_one) for kind in ("training", "inference")))
        for rounds_of_one in zip(*measurements, strict=True)
    ]
    by = {contender: {} for contender in ("ours", "plain")}
    for (contender, model, options), rate in zip(rates, medians, strict=True):
        if not options:
            by[contender][model] = rate
    shown = [goals_table(by["ours"], by["plain"])]
    if "natal" in models:
        shown.append(variants_table(by["ours"]["natal"], dict(zip(VARIANTS, medians[-len(VARIANTS) :], strict=True))))
    shown.append(optimizers_table(costs))
    title = f"{TITLES[models[-1]]}: where a training step's time goes"
    shown += [
        profile_table(f"{title}, {kind}", profile[key], 12) for kind, key in (("by layer", "parts"), ("by op", "ops"))
    ]
    first = measurements[0][0]
    sizes = f"{first['unique']:,} distinct rows among a batch's 311,296 cells; seed {seed}, {rounds} rounds of {steps} steps."
    tables.report(console, f"{where} {sizes}", shown, markdown)


if __name__ == "__main__":
    tables.run(main)
