"""Commands of scheduled retraining: `retrain`, `rollback` and `history`."""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from features.errors import MalTfError
from pipelines.cli.shared import console, say


def retrain(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file, such as examples/retraining/market.yaml.")],
    span: Annotated[
        str, typer.Option(help="Newest day of the logs, such as 2025-05-20. By default yesterday, in UTC.")
    ] = "",
    from_: Annotated[str, typer.Option("--from", help="Backfill from this day on.")] = "",
    to: Annotated[str, typer.Option(help="Backfill up to and including this day.")] = "",
    first: Annotated[bool, typer.Option("--first", help="No model serves yet: judge by floors alone.")] = False,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: fit_age_days=1.")] = [],  # noqa: B006
):
    """Retrain for a day: label, check, train from the serving model, judge, push or refuse. Finished stages are kept.

    Exit codes: 0 pushed, 3 data or model refused (the serving model stays), 75 try again later, 1 any other error.
    """
    from pipelines.retrain.config import load
    from pipelines.retrain.schedule import backfill
    from pipelines.retrain.spans import requested_spans

    schedule, run_config = load(config, set_)
    refused = 0
    for day, result in backfill(schedule, run_config, requested_spans(span, from_, to), first):
        if isinstance(result, MalTfError):
            refused = result.exit_code
            console.print(f"{day}: [bold red]refused:[/] {escape(str(result))}", soft_wrap=True, emoji=False)
        elif result is None:
            say(f"{day}: already pushed, nothing to do")
        else:
            say(f"{day}: {result.path} serves")
    if refused:
        sys.exit(refused)


def rollback(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    to: Annotated[
        int | None, typer.Option(help="Version to serve again. By default the one before the serving one.")
    ] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Serve an earlier version again, as a copy with the next version number. The next retraining starts from it."""
    from pipelines.retrain.config import load
    from pipelines.retrain.serving import SERVING
    from pipelines.retrain.serving import rollback as roll_back

    schedule, _ = load(config, set_)
    version = roll_back(f"{schedule.root}/{SERVING}", to)
    say(f"{version.path} serves, the model of span {version.lineage.get('span', '?')}")


def history(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    span: Annotated[str, typer.Option(help="Show each attempt at this day, such as 2025-05-20, stage by stage.")] = "",
    serving: Annotated[bool, typer.Option("--serving", help="Show what the serving model was made from.")] = False,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Show what each retraining did, or what the serving model was made from. Safe to use during a retraining."""
    from pipelines.retrain import history_tables
    from pipelines.retrain.config import load
    from pipelines.retrain.history import open_history
    from pipelines.retrain.serving import SERVING, current, versions

    schedule, _ = load(config, set_)
    recorded = open_history(schedule.metadata, schedule.root, create=False)
    if span:
        history_tables.show_span(console, recorded, span, schedule.root)
    if serving:
        history_tables.show_serving(console, recorded, current(f"{schedule.root}/{SERVING}"), schedule.root)
    if not span and not serving:
        history_tables.show_runs(console, recorded, versions(f"{schedule.root}/{SERVING}"))
