"""Commands on a schedule: `retrain`, `rollback`, `history`."""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from features.errors import MalTfError
from pipelines.cli.shared import console


def retrain(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file, such as examples/retraining/market.yaml.")],
    span: Annotated[str, typer.Option(help="Newest day of the logs, 2025-05-20; yesterday, UTC, if not given.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Backfill: the first of several spans.")] = "",
    to: Annotated[str, typer.Option(help="Backfill: the last of them.")] = "",
    first: Annotated[bool, typer.Option("--first", help="Nothing serves yet: floors alone decide.")] = False,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: fit_age_days=1.")] = [],  # noqa: B006
):
    """Retrain for a day: label, check, train from the model that serves, judge, push or refuse. Finished stages stay.

    Exit codes: 0 pushed, 3 refused (data or model; what serves stays), 75 try again later, 1 anything else.
    """
    from pipelines.retrain.config import load
    from pipelines.retrain.schedule import backfill
    from pipelines.retrain.spans import wanted

    schedule, run_config = load(config, set_)
    refused = 0
    for day, result in backfill(schedule, run_config, wanted(span, from_, to), first):
        if isinstance(result, MalTfError):
            refused = result.exit_code
            console.print(f"{day}: [bold red]refused:[/] {escape(str(result))}", soft_wrap=True)
        elif result is None:
            console.print(f"{day}: pushed before, nothing to do", soft_wrap=True)
        else:
            console.print(f"{day}: {result.path} serves", soft_wrap=True)
    if refused:
        sys.exit(refused)


def rollback(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    to: Annotated[int | None, typer.Option(help="Version to serve again; the model before if not given.")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Serve an earlier version again, as a copy with the next number; the next retraining starts from it."""
    from pipelines.retrain.config import load
    from pipelines.retrain.planning import SERVING
    from pipelines.retrain.serving import rollback as roll_back

    schedule, _ = load(config, set_)
    version = roll_back(f"{schedule.root}/{SERVING}", to)
    console.print(f"{version.path} serves, the model of span {version.lineage.get('span', '?')}", soft_wrap=True)


def history(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    span: Annotated[str, typer.Option(help="A day, 2025-05-20: each attempt at it, stage by stage.")] = "",
    serving: Annotated[bool, typer.Option("--serving", help="What made the model that serves now.")] = False,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Show what each retraining did, and what made the model that serves now. Retraining may go on meanwhile."""
    from pipelines.retrain import history_tables
    from pipelines.retrain.config import load
    from pipelines.retrain.history import open_history
    from pipelines.retrain.planning import SERVING
    from pipelines.retrain.serving import current, versions

    schedule, _ = load(config, set_)
    recorded = open_history(schedule.metadata, schedule.root, create=False)
    if span:
        history_tables.show_span(console, recorded, span, schedule.root)
    if serving:
        history_tables.show_serving(console, recorded, current(f"{schedule.root}/{SERVING}"), schedule.root)
    if not span and not serving:
        history_tables.show_runs(console, recorded, versions(f"{schedule.root}/{SERVING}"))
