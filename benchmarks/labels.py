"""Compares the label job with alternatives, on generated logs: `python -m benchmarks.labels`.

Every contender runs in a fresh process, the label job through the command line. The cost per click is the difference between
two sizes, so that start-up does not count. The logs have just been written, so all contenders read them from the page cache.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import against, logs, measure, tables
from benchmarks.measure import Measured
from benchmarks.tables import Table
from features.errors import MalTfError

_CLI = ("pipelines.cli", "labels", "{config}", "--output", "{output}")
_TWO_WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to label the logs.

    Attributes:
        name: name in the tables.
        arguments: arguments of `python -m`, with placeholders for the config and the output.
        small: whether it runs at the smaller sizes.
    """

    name: str
    arguments: Sequence[str]
    small: bool = False


CONTENDERS = {
    "ours": Contender("ours, 1 worker", _CLI),
    "ours2": Contender("ours, 2 workers", (*_CLI, *_TWO_WORKERS)),
    "row_by_row": Contender("(a) row by row in Beam", ("benchmarks.row_by_row", "{config}", "{output}"), small=True),
    "floor": Contender("(b) floor: no attribution", ("benchmarks.floor", "{config}", "{output}")),
    "floor_labels": Contender(
        "(b) with label columns, all 0", ("benchmarks.floor", "{config}", "{output}", "--labels")
    ),
    "duckdb": Contender("DuckDB, 1 thread: rules only", ("benchmarks.duckdb_labels", "{config}", "{output}")),
}

#: Measurements by contender and number of clicks.
Results = dict[tuple[str, int], Measured]


@dataclasses.dataclass(frozen=True)
class OwnJob:
    """Sizes and times from the label job's own output.

    Attributes:
        read: size of the logs in bytes.
        files: size of the TFRecords in bytes.
        seconds: seconds of each step, if the manifest has them.
    """

    read: int
    files: int
    seconds: Mapping[str, float]


def sizes_of(results: Results, key: str) -> list[int]:
    """Return the numbers of clicks that a contender was run at, ascending."""
    return sorted(clicks for name, clicks in results if name == key)


def per_click(results: Results, key: str, clock: str = "seconds") -> float | None:
    """Return (CPU) microseconds per click between the smallest and the largest size; None without two sizes."""
    sizes = sizes_of(results, key)
    if len(sizes) < 2:
        return None
    less, more = getattr(results[key, sizes[0]], clock), getattr(results[key, sizes[-1]], clock)
    return (more - less) / (sizes[-1] - sizes[0]) * 1e6


def ratio(results: Results, key: str, to: str, clock: str = "seconds") -> float | None:
    """Return the cost per click of `key` over that of `to`; None if one of them is unknown or not positive."""
    cost, other = per_click(results, key, clock), per_click(results, to, clock)
    return cost / other if cost is not None and other is not None and cost > 0 and other > 0 else None


def contenders_table(results: Results) -> Table:
    """Build the table of seconds, rate, cost per click and memory, by contender and size."""
    rows = []
    for key, contender in CONTENDERS.items():
        sizes = sizes_of(results, key)
        for clicks in sizes:
            measured, last = results[key, clicks], clicks == sizes[-1]
            rows.append(
                [
                    contender.name if clicks == sizes[0] else "",
                    f"{clicks:,}",
                    f"{measured.seconds:,.1f}",
                    f"{measured.cpu_seconds:,.1f}",
                    f"{clicks / measured.seconds:,.0f}",
                    _number(per_click(results, key), "{:,.2f}") if last else "",
                    _number(per_click(results, key, "cpu_seconds"), "{:,.2f}") if last else "",
                    _number(ratio(results, key, "ours"), "{:,.2f}") if last else "",
                    f"{measured.peak / 2**20:,.0f}",
                ]
            )
    columns = [
        "contender",
        "clicks",
        "seconds",
        "CPU s",
        "clicks/s",
        "µs/click*",
        "CPU µs/click*",
        "× ours*",
        "peak MiB",
    ]
    note = f"* start-up taken out: the difference between two sizes. Peak: largest sum of {measure.memory_kind()}."
    return Table("The label job and its alternatives", columns, rows, note)


def goals_table(results: Results, busy: bool = False) -> Table:
    """Build the table of the label job's goals and measurements, in seconds, which decide, and in CPU seconds.

    Args:
        results: measurements of all contenders.
        busy: whether other processes kept the machine busy, so that no goal can be decided.
    """
    rows = []

    def add(what: str, goal: str, met: Callable[[float], bool], value: float | None, cpu: float | None = None) -> None:
        verdict = "met" if value is not None and met(value) else "missed"
        verdict = "not measured" if value is None else "unsure: busy machine" if busy else verdict
        rows.append([what, goal, _number(value, "{:,.2f}"), _number(cpu, "{:,.2f}"), verdict])

    def add_ratio(what: str, goal: str, met: Callable[[float], bool], key: str, to: str) -> None:
        add(what, goal, met, ratio(results, key, to), ratio(results, key, to, "cpu_seconds"))

    add_ratio("(a) ÷ ours, per click", "≥ 20", lambda n: n >= 20, "row_by_row", "ours")
    add_ratio("ours ÷ (b), per click", "≤ 2", lambda n: n <= 2, "ours", "floor")
    both = sorted(set(sizes_of(results, "ours")) & set(sizes_of(results, "ours2")))
    if both:
        gain = results["ours", both[-1]].seconds / results["ours2", both[-1]].seconds
        add(f"1 worker ÷ 2 workers, whole run, {both[-1]:,} clicks", "≥ 1.6", lambda n: n >= 1.6, gain)
    add_ratio("1 worker ÷ 2 workers, per click", "≥ 1.6", lambda n: n >= 1.6, "ours", "ours2")
    for key in ("ours", "ours2"):
        sizes = sizes_of(results, key)
        if len(sizes) > 1:
            growth = results[key, sizes[-1]].peak / results[key, sizes[0]].peak
            what = f"{CONTENDERS[key].name}: peak memory, {sizes[-1]:,} ÷ {sizes[0]:,} clicks"
            add(what, "≤ 2", lambda n: n <= 2, growth)
    return Table("Goals", ["what", "goal", "measured", "by CPU time", "verdict"], rows)


def stages_table(seconds: Mapping[str, float], whole: float, clicks: int) -> Table:
    """Build the table of the job's steps and their shares of its time."""
    rest = {"the rest: start-up, Beam": whole - sum(seconds.values())}
    rows = [[name, f"{value:,.1f}", f"{value / whole:.0%}"] for name, value in {**seconds, **rest}.items()]
    return Table(f"Where the time goes: ours, 1 worker, {clicks:,} clicks", ["step", "seconds", "share"], rows)


def disk_table(own: OwnJob, measured: Measured, write_seconds: float, read_seconds: float) -> Table:
    """Build the table of bytes that the job reads and writes, and of the time that the disk alone takes for them."""
    transfers = (("logs read", own.read, read_seconds), ("written to disk", _written(own, measured), write_seconds))
    rows = [[n, f"{size / 2**20:,.0f}", f"{s:,.2f}", f"{s / measured.seconds:.1%}"] for n, size, s in transfers]
    note = (
        f"TFRecords: {own.files / 2**20:,.0f} MiB of what is written. Plain: one sequential read past the page cache, one "
        "sequential write with fsync, of as many bytes."
    )
    columns = ["bytes", "MiB", "plain, seconds", "share of the job's time"]
    return Table("Where the limit lies: the disk (ours, 1 worker)", columns, rows, note)


def _written(own: OwnJob, measured: Measured) -> int:
    return max(own.files, measured.written)


def own_job(output: pathlib.Path, folder: pathlib.Path, clicks: int) -> OwnJob:
    """Read the manifest of the label job under `output`.

    Raises:
        MalTfError: the job did not write as many examples as there are clicks.
    """
    manifest = json.loads((output / "labels" / "manifest.json").read_text())
    rows = sum(file["rows"] for file in manifest["files"])
    if rows != clicks:
        raise MalTfError(f"the label job wrote {rows:,} examples of {clicks:,} clicks; all are mature, none is bad")
    return OwnJob(
        sum(path.stat().st_size for path in folder.glob("*.parquet")),
        sum(file["bytes"] for file in manifest["files"]),
        _leaves(manifest.get("seconds", {})),
    )


def _leaves(seconds: Mapping, prefix: str = "") -> dict[str, float]:
    leaves: dict[str, float] = {}
    for name, value in seconds.items():
        leaves |= _leaves(value, f"{prefix}{name}: ") if isinstance(value, Mapping) else {prefix + name: float(value)}
    return leaves


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


@dataclasses.dataclass
class Benchmark:
    """One run of the benchmark.

    Attributes:
        options: options of the logs, except their size.
        folder: directory of logs and outputs.
        sizes: numbers of clicks, by contender.
        repeats: number of runs of each contender at each size; the fastest counts.
        busy: whether other processes keep the machine busy.
        progress: progress display.
        results: measurements of all contenders.
        own: the label job's own sizes and times with one worker, by number of clicks.
    """

    options: Mapping
    folder: pathlib.Path
    sizes: Mapping[str, Sequence[int]]
    repeats: int
    busy: bool
    progress: Progress
    results: Results = dataclasses.field(default_factory=dict)
    own: dict[int, OwnJob] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Generate the logs and run all contenders, the small sizes first."""
        todo = sorted((clicks, key) for key, sizes in self.sizes.items() for clicks in sizes)
        task = self.progress.add_task("", total=len(todo) * self.repeats)
        for clicks, key in todo:
            logs_folder = self.generate(clicks)
            for _ in range(self.repeats):
                self._run(key, clicks, logs_folder, task)

    def generate(self, clicks: int) -> pathlib.Path:
        """Generate the logs of some clicks, unless they are there, and return their directory."""
        name = f"{clicks}-" + "-".join(str(value) for value in self.options.values())
        folder = self.folder / f"logs-{name}"
        if not (folder / "config.yaml").exists():  # The config is written last.
            task = self.progress.add_task(f"generating {clicks:,} clicks", total=clicks)
            logs.generate(logs.Logs(clicks, **self.options), folder, lambda done: self.progress.advance(task, done))
            self.progress.remove_task(task)
            events = sum(pq.read_metadata(path).num_rows for path in folder.glob("conversions-*.parquet"))
            self.progress.console.print(f"generated {clicks:,} clicks, {events:,} conversions")
        return folder

    def _run(self, key: str, clicks: int, logs_folder: pathlib.Path, task) -> None:
        contender, output = CONTENDERS[key], self.folder / "output"
        shutil.rmtree(output, ignore_errors=True)
        title = f"{contender.name} · {clicks:,} clicks"
        self.progress.update(task, description=escape(title))

        def watch(seconds: float, memory: int) -> None:
            self.progress.update(task, description=escape(f"{title} · {seconds:,.0f} s · {memory / 2**20:,.0f} MiB"))

        places = {"config": logs_folder / "config.yaml", "output": output}
        arguments = [argument.format(**places) for argument in contender.arguments]
        measured = measure.run([sys.executable, "-m", *arguments], self.folder / "output.log", watch)
        best = self.results.get((key, clicks))
        if best is None or measured.seconds < best.seconds:
            self.results[key, clicks] = measured
            if key == "ours":
                self.own[clicks] = own_job(output, logs_folder, clicks)
        shutil.rmtree(output)
        self.progress.advance(task)
        self.progress.console.print(escape(f"{title}: {measured.seconds:,.1f} s, {measured.peak / 2**20:,.0f} MiB"))

    def tables(self) -> list[Table]:
        """Build all tables."""
        shown = [contenders_table(self.results), goals_table(self.results, self.busy)]
        if self.own:
            clicks = max(self.own)
            own, measured = self.own[clicks], self.results["ours", clicks]
            if own.seconds:
                shown.append(stages_table(own.seconds, measured.seconds, clicks))
            seconds = measure.disk_seconds(self.folder, _written(own, measured), own.read)
            shown.append(disk_table(own, measured, *seconds))
        return shown


def main(
    clicks: Annotated[list[int], typer.Option(min=1, help="Clicks for all but (a). Repeat for two sizes.")] = [  # noqa: B006
        1_000_000,
        10_000_000,
    ],
    small: Annotated[list[int], typer.Option(min=1, help="Clicks for (a), row by row; repeatable.")] = [  # noqa: B006
        50_000,
        200_000,
    ],
    only: Annotated[
        list[str], typer.Option(help=f"Contenders to run: {', '.join(CONTENDERS)}; all if not given.")
    ] = [],  # noqa: B006
    repeats: Annotated[int, typer.Option(min=1, help="Number of runs of each contender; the fastest counts.")] = 1,
    skew: Annotated[float, typer.Option(min=0, max=1, help="Share of the clicks that 1% of the users make.")] = 0.2,
    giant: Annotated[int, typer.Option(min=0, help="Clicks of one user, out of all.")] = 0,
    history: Annotated[bool, typer.Option("--history", help="Add a history feature (ours only).")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the logs.")] = 17,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(help="Directory that keeps the logs. By default a temporary one."),
    ] = None,
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
    revision: Annotated[str, typer.Option("--against", help="Compare with this commit's label job instead.")] = "",
) -> None:
    """Compare the label job with its alternatives."""
    unknown = sorted(set(only) - set(CONTENDERS))
    if unknown:
        raise typer.BadParameter(f"--only {unknown[0]}: expected one of {', '.join(CONTENDERS)}")
    chosen = {key: c for key, c in CONTENDERS.items() if not only or key in only}
    sizes = {key: sorted(set(small if contender.small else clicks)) for key, contender in chosen.items()}
    if giant > min(size for found in sizes.values() for size in found):
        raise typer.BadParameter(f"--giant {giant:,} is more than the clicks of the smallest size")
    options = {"skew": skew, "giant": giant, "history": history, "seed": seed}
    console, where = tables.console(), tables.machine()
    busy = os.getloadavg()[0] > 0.5
    if busy:
        console.print(
            "[yellow]Other processes keep this machine busy: seconds and PSS will be off, CPU seconds less so.[/]"
        )
    parts = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="mal-tf-benchmark-") as temporary:
        place = (folder or pathlib.Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        with Progress(*parts, console=console, transient=True) as progress:
            benchmark = Benchmark(options, place, sizes, repeats, busy, progress)
            if revision:
                made = {size: benchmark.generate(size) for size in clicks}
                shown = [against.compare(revision, made, place, progress.console.print)]
            else:
                benchmark.run()
                shown = benchmark.tables()
    options_text = ", ".join(f"{name} {value}" for name, value in options.items())
    tables.report(console, f"{where} Logs: {options_text}.", shown, markdown)


if __name__ == "__main__":
    tables.run(main)
