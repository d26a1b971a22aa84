"""The command line `mal-tf`."""

import logging
import os
import pathlib
import sys
import warnings
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from features.errors import MalTfError

app = typer.Typer(
    help="Train and serve conversion-rate models by multi-attribution learning.\n\n"
    "Start with `mal-tf run CONFIG`: it labels the logs, checks the data, trains, exports and evaluates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

#: Commands that start the Beam job take Beam's flags after their own.
_BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}

Config = Annotated[str, typer.Argument(help="The run's YAML file.")]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: training.batch_size=256.")]
Output = Annotated[str, typer.Option(help="Directory of the run's outputs; runs/<name> if not given.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make finished stages anew although nothing changed.")]
Strategy = Annotated[
    str,
    typer.Option(
        help="Where to train: default, mirrored, multi_worker, parameter_server, tpu; see docs/distributed.md."
    ),
]


def _run(
    context: typer.Context,
    config: str,
    overrides: list[str],
    output: str,
    overwrite: bool = False,
    strategy: str = "default",
):
    from mal_tf.training.cluster import connect
    from pipelines import beam
    from pipelines.config import load
    from pipelines.run import Run

    options = beam.pipeline_options(context.args)  # A mistyped flag is refused before anything is done.
    if beam.is_dry_run(options):
        raise MalTfError("--dry_run=true goes with `mal-tf labels` alone")
    loaded = load(config, overrides)
    cluster = connect(strategy, loaded.training)
    if overwrite and cluster.in_step:
        raise MalTfError(
            "--overwrite: its processes can't tell a finished stage from one to be replaced; remove it first"
        )
    return Run(loaded, output or _default_output(loaded), tuple(context.args), overwrite, cluster)


def _default_output(config) -> str:
    return str(pathlib.Path("runs") / config.name)


@app.command(context_settings=_BEAM)
def run(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    overwrite: Overwrite = False,
    strategy: Strategy = "default",
):
    """Do everything: labels, validate, train, export, evaluate. Finished stages are not repeated.

    Beam's own flags (--runner=…) may follow.
    """
    from pipelines import manifest, text_table
    from pipelines.evaluation import tables
    from pipelines.report import write as report

    with _run(context, config, set_, output, overwrite, strategy).opened() as opened:
        if not opened.cluster.chief:
            for name in opened.config.model.names:
                opened.train(name)
            return
        with report.at_the_end(opened.directory):
            result = opened.evaluate()
            opened.journeys()
        _show_labels(opened)
        _show_auxiliaries(opened)
        for table in tables.overall(result):
            text_table.show(console, table)
        served = opened.export(opened.config.model.name)
        console.print(f"SavedModel: {served}", soft_wrap=True)
        console.print(f"Report: {opened.path(report.REPORT)}", soft_wrap=True)
        entries = manifest.read(opened.path("labels"))["files"]
        clicks = opened.path("labels", next(e["path"] for e in entries if e["split"] == "eval" and e["rows"]))
        program = os.path.relpath(sys.argv[0])
        console.print(f"Try next: {program} predict {served} {clicks} --output predictions.csv", soft_wrap=True)


@app.command(context_settings=_BEAM)
def labels(context: typer.Context, config: Config, set_: Set = [], output: Output = "", overwrite: Overwrite = False):  # noqa: B006
    """Turn click and conversion logs into labelled TFRecords. Beam's flags (--runner=…) go after the config.

    With --runner=DataflowRunner --dry_run=true the job is only described, not submitted.
    """
    from pipelines import beam, files
    from pipelines.labels.run import REPORT

    if beam.is_dry_run(beam.pipeline_options(context.args)):
        _dry_run(context.args, config, set_, output)
        return
    with _run(context, config, set_, output, overwrite).opened() as opened:
        directory = opened.labels()
        if files.exists(opened.path("labels", REPORT)):
            _show_labels(opened)
        else:
            console.print(f"Handed to the runner; {directory} is finished when it holds manifest.json", soft_wrap=True)


def _dry_run(flags: list[str], config: str, overrides: list[str], output: str) -> None:
    from pipelines.config import load
    from pipelines.labels.run import dry_run

    loaded = load(config, overrides)
    target = (output or _default_output(loaded)).rstrip("/") + "/labels"
    console.print(dry_run(loaded, target, flags), markup=False, highlight=False, soft_wrap=True)


@app.command(context_settings=_BEAM)
def validate(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    infer_schema: Annotated[
        bool, typer.Option("--infer-schema", help="Write a first schema to validation.schema_file, to be reviewed.")
    ] = False,
):
    """Check the labelled data against the schema; anomalies end with an error."""
    from pipelines import files

    with _run(context, config, set_, output).opened() as opened:
        if infer_schema:
            from google.protobuf import text_format

            from pipelines.validation.schema import infer_schema as infer
            from pipelines.validation.statistics import load

            target = opened.config.validation.schema_file
            if not target or files.exists(target):
                raise MalTfError(f"validation.schema_file is {target or 'not set'}: name a file that is not there yet")
            schema = infer(load(opened.statistics())["train"], opened.config.feature_spec)
            files.write_text(target, text_format.MessageToString(schema))
            console.print(f"Wrote {target}. Review it by hand, then commit it.", soft_wrap=True)
        directory = opened.validate()
        console.print(f"No anomalies. Statistics: {directory}/statistics.html", soft_wrap=True)


@app.command(context_settings=_BEAM)
def train(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    overwrite: Overwrite = False,
    strategy: Strategy = "default",
):
    """Train the configured models, in one pass over the train split in time order."""
    with _run(context, config, set_, output, overwrite, strategy).opened() as opened:
        for name in opened.config.model.names:
            console.print(f"{name}: {opened.train(name)}", soft_wrap=True)
        _show_auxiliaries(opened)


@app.command(context_settings=_BEAM)
def export(context: typer.Context, config: Config, set_: Set = [], output: Output = "", overwrite: Overwrite = False):  # noqa: B006
    """Export the trained models as SavedModels and check each in a fresh process."""
    with _run(context, config, set_, output, overwrite).opened() as opened:
        for name in opened.config.model.names:
            console.print(f"{name}: {opened.export(name)}", soft_wrap=True)


@app.command(context_settings=_BEAM)
def evaluate(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    overwrite: Overwrite = False,
    split: Annotated[str, typer.Option(help="Which clicks: eval or train.")] = "eval",
    labels: Annotated[str, typer.Option(help="Directory of another finished label job whose clicks to evaluate.")] = "",
    model: Annotated[
        list[str],
        typer.Option(metavar="NAME=SAVED_MODEL_DIR", help="Evaluate this export; repeat for more. Then only these."),
    ] = [],  # noqa: B006
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="As a Beam job, in bounded memory; Beam's flags (--runner=…) may follow."),
    ] = False,
):
    """Evaluate exported models side by side: under every label, by slice, with intervals; see docs/evaluation.md."""
    import json

    from pipelines import files, text_table
    from pipelines.evaluation import tables
    from pipelines.evaluation.evaluate import METRICS
    from pipelines.predict import version_of

    if split not in ("eval", "train"):
        raise MalTfError(f"--split: expected eval or train, found '{split}'")
    if wrong := [one for one in model if not all(one.partition("="))]:
        raise MalTfError(f"--model: expected NAME=SAVED_MODEL_DIR, found '{wrong[0]}'")
    versions = {name: version_of(directory) for name, _, directory in (one.partition("=") for one in model)}
    with _run(context, config, set_, output, overwrite).opened() as opened:
        evaluated = opened.distributed_evaluation if distributed else opened.evaluation
        directory = evaluated(split, labels, versions)
        for table in tables.tables(json.loads(files.read_text(f"{directory}/{METRICS}"))):
            text_table.show(console, table)
        beside = "" if distributed else ", and the clicks with predictions beside it"
        console.print(f"{directory}/{METRICS}{beside}", soft_wrap=True)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Directories of runs, or of a retraining's spans.")],
    output: Annotated[str, typer.Option(help="The page; RUN/report.html if not given, report.html for several.")] = "",
):
    """Write one HTML page that shows what runs made, several side by side. It needs no network."""
    from pipelines.report.write import REPORT, write

    page = output or (f"{runs[0].rstrip('/')}/{REPORT}" if len(runs) == 1 else REPORT)
    write(runs, page)
    console.print(page, soft_wrap=True)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A SavedModel's directory, or the directory of its versions.")],
    file: Annotated[str, typer.Argument(help="Clicks: .csv, .parquet, or tf.Examples in TFRecords.")],
    output: Annotated[str, typer.Option(help="Where to write: .csv or .parquet.")] = "predictions.csv",
    id_column: Annotated[
        str, typer.Option("--id", help="Column to copy to the output, if the file has it.")
    ] = "click_id",
):
    """Predict the CVR of clicks."""
    from pipelines.predict import predict as score

    console.print(f"{score(model, file, output, id_column):,} predictions in {output}", soft_wrap=True)


@app.command()
def explain(
    click_id: Annotated[str, typer.Argument(help="The click's id; one of several columns as 12:34:56.")],
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    user: Annotated[str, typer.Option(help="Whose click, where several users have one of this id.")] = "",
):
    """Explain a click of a run: its journey, each mechanism's credits, its labels, features and predictions.

    Reads the label files and, once, all logs that the config names; writes nothing.
    """
    from pipelines.config import load
    from pipelines.explain.explain import explain
    from pipelines.explain.show import progress, rows_read, show
    from pipelines.run import Run

    loaded = load(config, set_)
    run = Run(loaded, output or _default_output(loaded))
    with progress(console, rows_read(run.path("labels"))) as advance:
        found = explain(loaded, run.path("labels"), click_id, user, run.exported(), advance)
    show(console, found)


@app.command()
def benchmark(
    config: Annotated[
        str, typer.Argument(help="The comparison's YAML file, such as examples/benchmark/kuairand.yaml.")
    ],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: seeds=[1].")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory of the outputs; runs/<name> if not given.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = 1,
):
    """Compare models, primary targets, auxiliary sets and seeds on the same labels. What is finished is not repeated."""
    from pipelines import files, text_table
    from pipelines.comparison import report
    from pipelines.comparison.config import load
    from pipelines.comparison.run import RESULTS, run

    comparison, run_config = load(config, set_)
    directory = output or _default_output(comparison)
    tables = report.tables(run(comparison, run_config, directory, workers))
    for table in tables:
        text_table.show(console, table)
    files.write_text(f"{directory}/results.md", "\n".join(map(text_table.markdown, tables)))
    console.print(f"{directory}/{RESULTS}; the tables in {directory}/results.md", soft_wrap=True)


@app.command()
def simulate(
    config: Annotated[str, typer.Argument(help="The market's YAML file, such as examples/simulation/market.yaml.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: clicks=2000000.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Local directory to write; runs/<name>/logs if not given.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished market.")] = False,
):
    """Simulate an ad market: click and conversion logs, the truth about each click, and the config that labels them."""
    from pipelines.simulation.config import load
    from pipelines.simulation.progress import shown
    from pipelines.simulation.run import CONFIG, run

    market = load(config, set_)
    directory = output or f"{_default_output(market)}/logs"
    with shown(console, market.clicks) as advance:
        rows = run(market, directory, overwrite, advance)["rows"]
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("clicks", "conversions"))
    console.print(f"{directory}: {counts}, and the truth about each", soft_wrap=True)
    console.print(f"Try next: {os.path.relpath(sys.argv[0])} labels {directory}/{CONFIG}", soft_wrap=True)


@app.command()
def replay(
    config: Annotated[str, typer.Argument(help="The replay's YAML file, such as examples/replay/market.yaml.")],
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key: budget=0.1.")] = [],  # noqa: B006
    output: Annotated[str, typer.Option(help="Directory of the outputs; runs/<name> if not given.")] = "",
):
    """Let models bid for a simulated market's clicks under budgets: GMV, orders and ROI by arm and industry."""
    from pipelines import files, text_table
    from pipelines.replay import report
    from pipelines.replay.config import load
    from pipelines.replay.run import RESULTS, run

    loaded, run_config = load(config, set_)
    directory = output or _default_output(loaded)
    result = run(loaded, run_config, directory)
    tables = report.tables(result)
    for table in tables:
        text_table.show(console, table)
    files.write_text(f"{directory}/results.md", "\n".join(map(text_table.markdown, tables)))
    drawn = " and ".join(report.figures(result, directory))
    console.print(f"{directory}/{RESULTS}; the tables in {directory}/results.md; {drawn}", soft_wrap=True)


@app.command()
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
    from pipelines.retraining.config import load
    from pipelines.retraining.schedule import backfill
    from pipelines.retraining.spans import wanted

    schedule, run_config = load(config, set_)
    refused = 0
    for day, result in backfill(schedule, run_config, wanted(span, from_, to), first):
        if isinstance(result, MalTfError):
            refused = result.exit_code
            console.print(f"{day}: [bold red]refused:[/] {_escape(str(result))}", soft_wrap=True)
        elif result is None:
            console.print(f"{day}: pushed before, nothing to do", soft_wrap=True)
        else:
            console.print(f"{day}: {result.path} serves", soft_wrap=True)
    if refused:
        sys.exit(refused)


@app.command()
def rollback(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    to: Annotated[int | None, typer.Option(help="Version to serve again; the model before if not given.")] = None,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Serve an earlier version again, as a copy with the next number; the next retraining starts from it."""
    from pipelines.retraining.config import load
    from pipelines.retraining.planning import SERVING
    from pipelines.retraining.serving import rollback as roll_back

    schedule, _ = load(config, set_)
    version = roll_back(f"{schedule.root}/{SERVING}", to)
    console.print(f"{version.path} serves, the model of span {version.lineage.get('span', '?')}", soft_wrap=True)


@app.command()
def history(
    config: Annotated[str, typer.Argument(help="The schedule's YAML file.")],
    span: Annotated[str, typer.Option(help="A day, 2025-05-20: each attempt at it, stage by stage.")] = "",
    serving: Annotated[bool, typer.Option("--serving", help="What made the model that serves now.")] = False,
    set_: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = [],  # noqa: B006
):
    """Show what each retraining did, and what made the model that serves now. Retraining may go on meanwhile."""
    from pipelines.retraining import history_tables
    from pipelines.retraining.config import load
    from pipelines.retraining.history import open_history
    from pipelines.retraining.planning import SERVING
    from pipelines.retraining.serving import current

    schedule, _ = load(config, set_)
    recorded = open_history(schedule.metadata, schedule.root, create=False)
    if span:
        history_tables.show_span(console, recorded, span, schedule.root)
    if serving:
        history_tables.show_serving(console, recorded, current(f"{schedule.root}/{SERVING}"), schedule.root)
    if not span and not serving:
        history_tables.show_runs(console, recorded)


def _show_labels(opened) -> None:
    import json

    from pipelines import files
    from pipelines.labels.run import REPORT
    from pipelines.summary import show_labels

    show_labels(console, json.loads(files.read_text(opened.path("labels", REPORT))))


def _show_auxiliaries(opened) -> None:
    from pipelines.summary import show_auxiliaries

    if found := opened.auxiliaries():
        show_auxiliaries(console, found)


def main() -> None:
    """Entry point: errors for people are printed alone and exit with 1, with 75 where the same command goes on."""
    for category in (FutureWarning, UserWarning):  # Google's clients warn on import.
        warnings.filterwarnings("ignore", category=category)
        sys.warnoptions.append(f"ignore::{category.__name__}")  # Worker processes are started with these.
    logging.basicConfig(level=logging.ERROR, format="%(message)s", handlers=[RichHandler(show_path=False)])
    for name in ("mal_tf", "apache_beam.runners.dataflow"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        app()
    except MalTfError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
