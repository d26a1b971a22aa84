"""Commands for studies: `benchmark` and `tune` on one run's labels, `simulate` and `replay` on a simulated ad market."""

import shlex
from typing import Annotated

import typer

from features.errors import MalTfError
from pipelines.cli.shared import console, default_output, program, say

#: What to do about an output on an object store.
_COPY = "a study trains in many processes that share its directory; write it here and copy it, or mount the store"


def benchmark(
    config: Annotated[
        str, typer.Argument(help="The comparison's YAML file, such as examples/benchmark/kuairand.yaml.")
    ],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: seeds=[1].")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory of the outputs. By default runs/<name>.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Number of trainings that run in parallel.")] = 1,
):
    """Compare models, primary targets, auxiliary sets and seeds on the same labels. Finished trainings are not repeated."""
    from pipelines.core import files, stores, text_table
    from pipelines.core.layout import RESULTS, TABLES
    from pipelines.studies.comparison import report
    from pipelines.studies.comparison.config import load
    from pipelines.studies.comparison.run import run

    stores.refuse(output, "--output", _COPY)
    comparison, run_config = load(config, set_)
    directory = output or default_output(comparison)
    tables = report.tables(run(comparison, run_config, directory, workers))
    for table in tables:
        text_table.show(console, table)
    files.write_text(f"{directory}/{TABLES}", "\n".join(map(text_table.markdown, tables)))
    say(f"{directory}/{RESULTS}; the tables in {directory}/{TABLES}")


def grid(
    config: Annotated[str, typer.Argument(help="The grid's YAML file, such as examples/benchmark/growth.yaml.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: seeds=[1].")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory of the outputs. By default runs/<name>.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Number of trainings that run in parallel.")] = 1,
):
    """Compare models on many simulated markets: the gain against the growth of the positives. Finished parts are not repeated."""
    from pipelines.core import files, stores, text_table
    from pipelines.core.layout import RESULTS, TABLES
    from pipelines.studies.grid import report
    from pipelines.studies.grid.config import GridConfig
    from pipelines.studies.grid.run import run

    stores.refuse(output, "--output", _COPY)
    loaded = GridConfig.load(config, set_)
    directory = output or default_output(loaded)
    result = run(loaded, directory, workers)
    tables = report.tables(result)
    for table in tables:
        text_table.show(console, table)
    files.write_text(f"{directory}/{TABLES}", "\n".join(map(text_table.markdown, tables)))
    say(f"{directory}/{RESULTS}; the tables in {directory}/{TABLES}; {report.figure(result, directory)}")


def tune(
    config: Annotated[str, typer.Argument(help="The run's YAML file; its block `tuning` describes the search.")],
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: tuning.trials=10.")
    ] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory of the run. By default runs/<name>.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Number of trainings that run in parallel.")] = 1,
):
    """Search for better learning rates, batch size, weights and widths. Finished trainings are not repeated."""
    from pipelines.config.run import load
    from pipelines.core import stores, text_table
    from pipelines.core.layout import BEST, TRIALS, TUNE
    from pipelines.studies.tuning import report
    from pipelines.studies.tuning.run import run

    stores.refuse(output, "--output", _COPY)
    loaded = load(config, set_)
    directory = output or default_output(loaded)
    result = run(loaded, directory, workers)
    text_table.show(console, report.table(result))
    say(f"{directory}/{TUNE}/{TRIALS}; the best config in {directory}/{TUNE}/{BEST}")
    say(f"Try next: {program()} run {shlex.quote(config)} {report.flags(result)}")


def simulate(
    config: Annotated[str, typer.Argument(help="The market's YAML file, such as examples/simulation/market.yaml.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: clicks=2000000.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory to write to. By default runs/<name>/logs.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished market.")] = False,
):
    """Simulate an ad market: write click and conversion logs, the true cause and value of each, and a config for them."""
    from pipelines.core import files
    from pipelines.studies.simulation.config import load
    from pipelines.studies.simulation.progress import shown
    from pipelines.studies.simulation.run import CONFIG, run

    market = load(config, set_)
    directory = output or f"{default_output(market)}/logs"
    files.check_apart(directory, [config])
    with shown(console, market.clicks) as advance:
        rows = run(market, directory, overwrite, advance)["rows"]
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("clicks", "conversions"))
    say(f"{directory}: {counts}, and the truth about each")
    say(f"Try next: {program()} labels {shlex.quote(f'{directory}/{CONFIG}')}")


def replay(
    config: Annotated[str, typer.Argument(help="The replay's YAML file, such as examples/replay/market.yaml.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: budget=0.1.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Directory of the outputs. By default runs/<name>.")] = "",
):
    """Let models bid for a simulated market's clicks under budgets, and report GMV, orders and ROI by arm and industry."""
    from pipelines.core import files, locks, stores, text_table
    from pipelines.core.layout import BENCHMARK, FIGURES, RESULTS, TABLES
    from pipelines.studies.replay import report
    from pipelines.studies.replay.config import load
    from pipelines.studies.replay.run import run

    stores.refuse(output, "--output", _COPY)
    loaded, run_config = load(config, set_)
    directory = output or default_output(loaded)
    with locks.lock(directory):
        if files.exists(f"{directory}/{BENCHMARK}"):
            raise MalTfError(
                f"{directory}: expected a directory for a replay, found a benchmark; choose another output"
            )
        # So that no file of an earlier replay is left beside the new ones.
        for name in (RESULTS, TABLES, *FIGURES):
            files.delete(f"{directory}/{name}")
        result = run(loaded, run_config, directory)
        tables = report.tables(result)
        for table in tables:
            text_table.show(console, table)
        files.write_text(f"{directory}/{TABLES}", "\n".join(map(text_table.markdown, tables)))
        drawn = " and ".join(report.figures(result, directory))
    say(f"{directory}/{RESULTS}; the tables in {directory}/{TABLES}; {drawn}")
