"""What benchmarks show and how they start: tables, the machine, the command line."""

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
    """The machine, the versions and the commit, in a sentence or two."""
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
    """Where a benchmark prints; wide enough for its tables where it is no terminal."""
    made = Console()
    if not made.is_terminal:
        made.width = 150
    return made


def report(shown: Console, told: str, made: Sequence[Table], markdown_file: pathlib.Path | None) -> None:
    """Prints what was measured and where, then the tables; writes both as Markdown if a file is named."""
    shown.print(escape(told), soft_wrap=True)
    for table in made:
        show(shown, table)
    if markdown_file:
        markdown_file.write_text("\n".join([told, "", *map(markdown, made)]), encoding="utf-8")


def version(name: str) -> str:
    """Of an installed package, or `absent`."""
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
