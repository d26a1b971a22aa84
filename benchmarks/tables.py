"""What benchmarks show and how they start: tables for the terminal and for Markdown, the machine, the command line."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence

import rich.box
import rich.table
import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.measure import ROOT
from features.errors import MalTfError


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text; the first column is to the left, the others are numbers, to the right.

    Attributes:
        title: above it.
        columns: names.
        rows: cells.
        note: below it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def show(console: Console, table: Table) -> None:
    """Prints a table."""
    drawn = rich.table.Table(
        title=escape(table.title),
        caption=escape(table.note),
        box=rich.box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        min_width=min(max(len(table.title), 100), console.width),
    )
    for index, name in enumerate(table.columns):
        drawn.add_column(escape(name), justify="right" if index else "left")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    console.print(drawn)


def markdown(table: Table) -> str:
    """A table in Markdown, under a heading."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (table.columns, *table.rows)]
    lines.insert(1, "|---" + "|---:" * (len(table.columns) - 1) + "|")
    return "\n".join([f"### {table.title}", "", *lines, "", *([table.note, ""] if table.note else [])])


def machine() -> str:
    """The machine, the versions and the commit, in a sentence or two."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    names = ("apache-beam", "pyarrow", "tensorflow", "tfx-bsl", "duckdb")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    commit = _git("rev-parse", "--short", "HEAD") or "?"
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return (
        f"{cpu}, {len(os.sched_getaffinity(0))} cores, {memory / 2**20:.0f} GiB, {platform.system()} "
        f"{platform.release()}; Python {platform.python_version()}, {versions}; commit {commit}{changed}; "
        f"load average at the start {os.getloadavg()[0]:.2f}."
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _lines(path: str) -> list[str]:
    file = pathlib.Path(path)
    return file.read_text().splitlines() if file.exists() else []


def run(main: Callable[..., None]) -> None:
    """Runs a benchmark's command line: errors for people are printed alone and exit with 1."""
    try:
        typer.run(main)
    except MalTfError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
