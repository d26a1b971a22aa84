"""Compares the serving speed of our export with Keras' own export of the same model: `python -m benchmarks.serve`.

Both are SavedModels of the same untrained network, as latency depends on sizes, not on weights, and each is loaded and called
in a fresh process. Inputs are existing tensors, so no request is decoded. The clicks are a simulated market's, or those of a
config.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import measure, runtimes, tables
from benchmarks.serve_process import Settings
from benchmarks.tables import Table
from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from features.parsing import parse_features, raw_signature
from mal_tf.models import catalog
from mal_tf.serving.export import CANDIDATES, ServedModel, export
from mal_tf.serving.graph_size import graph_size
from mal_tf.serving.requests import signature_requests
from mal_tf.serving.rows import save_rows
from mal_tf.training.assembly import assemble
from mal_tf.training.dataset import batches as training_batches
from mal_tf.training.dataset import serialized
from mal_tf.training.recipe import Recipe
from mal_tf.training.trainer import Trainer
from pipelines.clicks import labelled
from pipelines.clicks.labelled import Labelled
from pipelines.config.run import RunConfig, load
from pipelines.run.run import Run
from pipelines.studies.simulation import run as simulation
from pipelines.studies.simulation.config import load as load_market
from pipelines.train import stages

_MARKET = measure.ROOT / "examples" / "simulation" / "market.yaml"
_MARKET_SIZE = ("users=2000", "clicks=20000")
_MARKET_USER = "export.user_features=[hour, weekday, city, member, age, clicked_products, clicked_industries, clicked_channels, bought_products]"  # noqa: E501

#: Names of our export, and of the one that it is compared with.
OURS, THEIRS = "ours", "(a) model.export"

#: Requests of embedding rows, for other runtimes, which have no lookup of strings.
ROWS = "rows"


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model's exports.

    Attributes:
        versions: path that a process loads, by contender.
        sizes: number of ops and of parameters, by graph: `training step` (ops only), `all heads`, `served`.
    """

    versions: dict[str, str]
    sizes: dict[str, dict[str, int]]


def export_both(config: RunConfig, data: Labelled, name: str, folder: pathlib.Path, requests: dict) -> Exported:
    """Export an untrained model with mal-tf, with `requests` as its warm-up, and with Keras, with all heads."""
    keras.backend.clear_session()
    recipe, spec = stages.recipe(config, data, name), config.feature_spec
    assembly, lookup = assemble(recipe), recipe.lookup
    network = assembly.network
    served = ServedModel(spec, lookup, network, config.export.user_features)
    ours, _ = export(served, str(folder / "ours" / name), requests, lambda _: None)
    whole, theirs = keras.Model(lookup.input, network.model(lookup.output)), str(folder / "theirs" / name)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints a line per variable.
        whole.export(theirs)
    all_heads = tf.function(whole, [raw_signature(spec)]).get_concrete_function()
    sizes = {
        "training step": {"ops": _training_step(recipe, assembly.trainer)["ops"]},
        "all heads": graph_size(all_heads),
        "served": graph_size(served.signatures["predict_raw"]),
    }
    versions = {THEIRS: theirs, OURS: ours}
    if not spec.similarities:
        save_rows(network, spec, str(folder / "rows" / name))
        for runtime in runtimes.NEEDS:
            if not runtimes.missing(runtime):
                try:
                    versions[runtime] = runtimes.convert(runtime, str(folder / "rows" / name), folder / "rows" / name)
                except MalTfError as error:  # The other runtimes are still measured.
                    tables.console().print(escape(f"{name}: {runtime} is left out: {error}"))
    return Exported(versions, sizes)


def _training_step(recipe: Recipe, trainer: Trainer) -> dict[str, int]:
    size = recipe.training.batch_size
    batches = training_batches(recipe.split, recipe.spec, recipe.lookup, recipe.targets, size)
    return graph_size(tf.function(trainer.train_step, autograph=False).get_concrete_function(batches.element_spec))


def make_requests(config: RunConfig, data: Labelled, rows: int) -> dict[str, dict[str, np.ndarray]]:
    """Make inputs by signature from the first `rows` clicks of the evaluation split.

    Raises:
        MalTfError: the split has fewer clicks.
    """
    examples = next(iter(serialized(data.splits["eval"], rows)))
    if len(examples) < rows:
        raise MalTfError(f"the evaluation split has {len(examples):,} clicks, fewer than the largest batch, {rows:,}")
    requests = signature_requests(examples, config.feature_spec, config.export.user_features)
    if not config.feature_spec.similarities:
        lookup = lookup_model(config.feature_spec, data.vocabularies)
        requests[ROWS] = {
            name: rows.numpy() for name, rows in lookup(parse_features(examples, config.feature_spec)).items()
        }
    return requests


@dataclasses.dataclass
class Benchmark:
    """One run of the benchmark.

    Attributes:
        config: features and architectures.
        data: the labelled clicks.
        names: names of the models.
        folder: directory of exports and requests.
        threads: numbers of threads to measure with.
        settings: settings of `serve_process`, except those of the model.
        progress: progress display.
        exported: exports by model.
        results: results of `serve_process` by model, contender, threads and whether it was warmed up.
    """

    config: RunConfig
    data: Labelled
    names: Sequence[str]
    folder: pathlib.Path
    threads: Sequence[int]
    settings: dict
    progress: Progress
    exported: dict[str, Exported] = dataclasses.field(default_factory=dict)
    results: dict[tuple[str, str, int, bool], dict] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Export and measure each model."""
        rows = max(*self.settings["batches"], self.settings["shared_batch"])
        requests = make_requests(self.config, self.data, rows)
        np.savez(
            self.folder / "requests.npz", **{f"{s}/{k}": v for s, named in requests.items() for k, v in named.items()}
        )
        ours = {signature: signature for signature in requests if signature != ROWS}
        few = {signature: {k: v[:10] for k, v in requests[signature].items()} for signature in ours}
        task = self.progress.add_task("", total=len(self.names))
        for name in self.names:
            self.progress.update(task, description=escape(f"{name}: exporting"))
            self.exported[name] = export_both(self.config, self.data, name, self.folder, few)
            for threads in self.threads:
                for contender in self.exported[name].versions:
                    signatures = {THEIRS: {"predict_raw": "serving_default"}, OURS: ours}
                    self._measure(name, contender, threads, signatures.get(contender, {ROWS: "serving_default"}))
            self._measure(name, OURS, self.threads[-1], ours, warmup=True, batches=[])
            self.progress.advance(task)

    def _measure(self, name: str, contender: str, threads: int, signatures: dict, warmup=False, **options) -> None:
        title = f"{name}: {contender}, threads: {threads}" + (", warmed up" if warmup else "")
        version, requests = self.exported[name].versions[contender], str(self.folder / "requests.npz")
        runtime = contender if contender in runtimes.NEEDS else "TensorFlow"
        settings = Settings(runtime, version, requests, signatures, threads, warmup, **(self.settings | options))
        settings_file, result_file = self.folder / "settings.json", self.folder / "result.json"
        settings_file.write_text(json.dumps(dataclasses.asdict(settings)))
        command = [sys.executable, "-m", "benchmarks.serve_process", str(settings_file), str(result_file)]
        measure.run(command, self.folder / "output.log")
        self.results[name, contender, threads, warmup] = json.loads(result_file.read_text())
        self.progress.console.print(escape(title))

    def tables(self) -> list[Table]:
        """Build all tables."""
        return [self._sizes(), self._latency(), self._throughput(), self._first_call(), self._memory()]

    def _sizes(self) -> Table:
        rows = []
        for name, exported in self.exported.items():
            for graph, size in exported.sizes.items():
                version = {"all heads": THEIRS, "served": OURS}.get(graph)
                mib = f"{_bytes(exported.versions[version]) / 2**20:,.1f}" if version else ""
                rows.append(
                    [
                        f"{name}: {graph}",
                        f"{size['parameters']:,}" if "parameters" in size else "",
                        f"{size['ops']:,}",
                        mib,
                    ]
                )
        note = (
            "Training step: rows to losses, gradients and optimiser. All heads: raw "
            f"features to all logits, {THEIRS}. Served: predict_raw."
        )
        return Table("Graphs", ["graph", "parameters", "ops", "SavedModel, MiB"], rows, note)

    def _calls(self) -> list[tuple[str, str, str]]:
        return [
            (name, contender, signature)
            for name in self.names
            for contender in self.exported[name].versions
            for signature in self.results[name, contender, self.threads[0], False]["latency"]
        ]

    def _latency(self) -> Table:
        rows, sizes = [], [str(batch) for batch in self.settings["batches"]]
        for name, contender, signature in self._calls():
            for threads in self.threads:
                timings = self.results[name, contender, threads, False]["latency"][signature]
                base = self.results[name, THEIRS, threads, False]["latency"]["predict_raw"][sizes[-1]]
                cells = [f"{p50:,.2f} / {p99:,.2f}" for p50, p99, _ in map(timings.get, sizes)]
                p50, _, cpu = timings[sizes[-1]]
                cells += [f"{base[0] / p50:,.2f}", f"{cpu:,.2f}", f"{base[2] / cpu:,.2f}"]
                rows.append([f"{name}: {contender} {signature}", str(threads), *cells])
        batches, last = (f"batch {size}" for size in sizes), sizes[-1]
        columns = ["signature", "threads", *batches, f"(a) ÷ it, {last}", f"CPU, {last}", f"(a) ÷ it, CPU, {last}"]
        note = (
            f"{self.settings['calls']} calls each, one at a time. (a) ÷ it: by p50, and by mean CPU time, which other "
            f"processes disturb less. {CANDIDATES}: one user, a batch of ads. {ROWS}: without looking strings up."
        )
        return Table("Latency, p50 / p99 in ms", columns, rows, note)

    def _throughput(self) -> Table:
        rows = [
            [
                f"{name}: {contender} {signature}",
                *(f"{self.results[name, contender, t, False]['throughput'][signature]:,.0f}" for t in self.threads),
            ]
            for name, contender, signature in self._calls()
        ]
        callers, batch = self.settings["callers"], self.settings["shared_batch"]
        columns = ["signature", *(f"threads: {threads}" for threads in self.threads)]
        return Table(f"Requests/s of {batch} clicks, {callers} callers, one loaded model", columns, rows)

    def _first_call(self) -> Table:
        rows, threads, batch = [], self.threads[-1], self.settings["shared_batch"]
        for name in self.names:
            cold, warm = (self.results[name, OURS, threads, warmed] for warmed in (False, True))
            for signature in cold["first"]:
                usual = cold["latency"][signature].get(str(batch))
                cells = [cold["load"] * 1e3, cold["first"][signature], warm["warmup"] * 1e3, warm["first"][signature]]
                shown = [f"{cell:,.1f}" for cell in cells] + [f"{usual[0]:,.2f}" if usual else ""]
                rows.append([f"{name}: {signature}", *shown])
        columns = ["signature", "load", "first call, cold", "warm-up file", "first call after it", "p50"]
        return Table(
            f"First call of {batch} clicks, ms", columns, rows, f"Threads: {threads}. Called in the order of the rows."
        )

    def _memory(self) -> Table:
        rows = []
        for name in self.names:
            for contender in self.exported[name].versions:
                result = self.results[name, contender, self.threads[-1], False]
                imported, loaded, called = (size / 2**20 for size in result["memory"])
                cells = (imported, loaded - imported, called - loaded)
                rows.append([f"{name}: {contender}", *(f"{cell:,.0f}" for cell in cells), f"{result['load']:,.2f}"])
        columns = ["export", "TensorFlow", "+ loaded", "+ all calls", "load, seconds"]
        return Table("Resident memory, MiB", columns, rows)


def _bytes(directory: str) -> int:
    return sum(path.stat().st_size for path in pathlib.Path(directory).rglob("*") if path.is_file())


def _market(folder: pathlib.Path) -> str:
    """Simulate the default clicks and return the path of their config."""
    if not (folder / "manifest.json").exists():
        simulation.run(load_market(str(_MARKET), _MARKET_SIZE), str(folder), overwrite=True)
    return str(folder / simulation.CONFIG)


def main(
    config: Annotated[str, typer.Argument(help="A run's YAML file. By default a simulated market is used.")] = "",
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of it.")] = [],  # noqa: B006
    model: Annotated[list[str], typer.Option(help="Model to measure. May be repeated; by default all.")] = [],  # noqa: B006
    threads: Annotated[list[int], typer.Option(min=1, help="Number of threads. May be repeated.")] = [1, 2],  # noqa: B006
    batch: Annotated[list[int], typer.Option(min=1, help="Number of clicks in a request. May be repeated.")] = [  # noqa: B006
        1,
        10,
        100,
        500,
    ],
    calls: Annotated[int, typer.Option(min=1, help="Number of calls of each size.")] = 300,
    callers: Annotated[int, typer.Option(min=1, help="Number of concurrent callers, for the throughput.")] = 8,
    seconds: Annotated[float, typer.Option(min=0, help="Duration of the throughput measurement.")] = 5.0,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Directory to work in, which keeps the labels for the next time. By default a temporary one."
        ),
    ] = None,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Measure the exported models."""
    if unknown := sorted(set(model) - set(catalog.MODELS)):
        raise typer.BadParameter(f"--model {unknown[0]}: expected one of {', '.join(catalog.MODELS)}")
    console, where = tables.console(), tables.machine()
    for runtime in runtimes.NEEDS:
        if missing := runtimes.missing(runtime):
            console.print(f"{runtime} is left out: not installed: {', '.join(missing)}")
    if os.getloadavg()[0] > 0.5:
        console.print("[yellow]Other processes keep this machine busy: times will be off.[/]")
    settings = {
        "batches": sorted(set(batch)),
        "calls": calls,
        "callers": callers,
        "seconds": seconds,
        "shared_batch": 100,
    }
    parts = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="mal-tf-benchmark-") as temporary:
        place = (folder or pathlib.Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        path, overrides = (config, set_) if config else (_market(place / "market"), [_MARKET_USER, *set_])
        loaded = load(path, overrides)
        with Run(loaded, str(place / "run")).opened() as run:
            data = labelled.load(run.labels(), loaded.feature_spec)
        for old in ("ours", "theirs", "rows"):
            shutil.rmtree(place / old, ignore_errors=True)
        with Progress(*parts, console=console, transient=True) as progress:
            names = [name for name in catalog.MODELS if name in model or not model]
            benchmark = Benchmark(loaded, data, names, place, sorted(set(threads)), settings, progress)
            benchmark.run()
        shown = benchmark.tables()
    tables.report(console, where, shown, markdown)


if __name__ == "__main__":
    tables.run(main)
