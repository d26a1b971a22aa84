"""The `mal-tf` command-line interface: registers the commands and reports their errors."""

import logging
import re
import sys
import warnings

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from typer.core import TyperCommand

from features.errors import MalTfError
from pipelines.cli import run, schedule, studies

app = typer.Typer(
    help="Train and serve conversion-rate models by multi-attribution learning.\n\n"
    "Start with `mal-tf run CONFIG`: it labels the logs, checks the data, trains, exports and evaluates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
#: Click settings of the commands that start a Beam job: unknown flags are passed on to Beam.
_PASS_FLAGS_TO_BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}

for _command in (run.run, run.labels, run.validate, run.train, run.export, run.evaluate):
    app.command(context_settings=_PASS_FLAGS_TO_BEAM)(_command)
for _plain_command in (
    run.report,
    run.predict,
    run.verify,
    studies.benchmark,
    studies.grid,
    studies.tune,
    studies.simulate,
    studies.replay,
    schedule.retrain,
    schedule.rollback,
    schedule.history,
):
    app.command()(_plain_command)


class _TakesIds(TyperCommand):
    """A command whose arguments may be ids that begin with one `-`, which otherwise are taken for options."""

    def parse_args(self, ctx, args):
        ctx.ignore_unknown_options = any(re.match(r"-[^-]", arg) for arg in args)
        return super().parse_args(ctx, args)


app.command(cls=_TakesIds)(run.explain)


def main() -> None:
    """Entry point: a `MalTfError` is printed without a traceback and sets the exit code; any other error propagates."""
    for category in (FutureWarning, UserWarning):  # Google's client libraries warn on import.
        warnings.filterwarnings("ignore", category=category)
        sys.warnoptions.append(f"ignore::{category.__name__}")  # Worker processes inherit these.
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[RichHandler(show_path=False)])
    for name in ("mal_tf", "apache_beam.runners.dataflow"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        app()
    except MalTfError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, emoji=False)
        sys.exit(error.exit_code)
