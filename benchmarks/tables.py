"""Tables, description of the machine, and command line that all benchmarks share."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.measure import ROOT
from features.errors import MalTfError
from pipelines.core.text_table import Table, markdown, show

__all__ = ["Table", "console", "machine", "markdown", "report", "run", "show", "version"]


def machine() -> str:
    """Describe the machine, the versions of packages and the commit, in a sentence."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    names = ("apache-beam", "pyarrow", "tensorflow", "tfx-bsl", "duckdb")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    commit = _git("rev-parse", "--short", "HEAD") or "?"
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return (
        f"{cpu}, {len(os.sched_getaffinity(0))} cores, {memory / 2**20:.0f} GiB, {platform.system()} "
        f"{platform.release()}; Python {platform.python_version()}, {versions}; commit {commit}{changed}; "
        f"load average at the start {os.getloadavg()[0]:.2f}."
    )


def console() -> Console:
    """Return the console that a benchmark prints to; wide enough for its tables if it is not a terminal."""
    console_ = Console()
    if not console_.is_terminal:
        console_.width = 150
    return console_


def report(shown: Console, description: str, shown_tables: Sequence[Table], markdown_file: pathlib.Path | None) -> None:
    """Print a description and tables, and write both as Markdown if a file is given."""
    shown.print(escape(description), soft_wrap=True)
    for table in shown_tables:
        show(shown, table)
    if markdown_file:
        markdown_file.write_text("\n".join([description, "", *map(markdown, shown_tables)]), encoding="utf-8")


def version(name: str) -> str:
    """Return the version of a package, or `absent` if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _lines(path: str) -> list[str]:
    file = pathlib.Path(path)
    return file.read_text().splitlines() if file.exists() else []


def run(main: Callable[..., None]) -> None:
    """Run a benchmark's command line. A MalTfError is printed without a traceback and exits with 1."""
    try:
        typer.run(main)
    except MalTfError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
