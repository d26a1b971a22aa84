"""The console, arguments and options that the commands share."""

import os
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console

console = Console()

Config = Annotated[str, typer.Argument(help="The run's YAML file.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key, such as training.batch_size=256."),
]
Output = Annotated[str, typer.Option(help="Directory of the run's outputs. By default runs/<name>.")]


def program() -> str:
    """Return how this program was called, for commands to try next: the script, or the interpreter with its module."""
    script = pathlib.Path(sys.argv[0])
    if script.name == "__main__.py":
        return f"{sys.orig_argv[0]} -m {__package__}"
    return os.path.relpath(script)


def say(text: str) -> None:
    """Print a line as it is; `console.print` takes parts of paths such as `[a]` and `:bug:` for its markup."""
    console.print(text, markup=False, emoji=False, soft_wrap=True)


def default_output(config) -> str:
    """Return the default output directory of a config, `runs/<name>`."""
    return str(pathlib.Path("runs") / config.name)
