"""Commands that work on one run: `run`, its single stages, and `report`, `predict`, `verify` and `explain`."""

import os
import shlex
from typing import Annotated

import typer

from features.errors import MalTfError
from pipelines.cli.shared import Config, Output, Set, console, default_output, program, say

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Run finished stages again even if nothing changed.")]
Strategy = Annotated[
    str,
    typer.Option(
        help="Where to train: default, mirrored, multi_worker, parameter_server, tpu; see docs/distributed.md."
    ),
]


def run(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    overwrite: Overwrite = False,
    strategy: Strategy = "default",
):
    """Run all stages: labels, validate, train, export, evaluate. Finished stages are not repeated.

    Beam's own flags, such as --runner=…, may follow.
    """
    from pipelines.core import manifest, text_table
    from pipelines.evaluate import tables
    from pipelines.report import write as report

    opened = _run(context, config, set_, output, overwrite, strategy)
    if not opened.chief:
        for name in opened.config.model.names:
            opened.train(name)
        return
    with opened.stages.publishing(report.REPORT), report.at_the_end(opened.directory), opened.opened():
        result = opened.evaluate()
        opened.journeys()
    _show_labels(opened)
    _show_auxiliaries(opened)
    for table in tables.overall(result):
        text_table.show(console, table)
    saved_model = opened.stages.shown(opened.export(opened.config.model.name))
    say(f"SavedModel: {saved_model}")
    say(f"Report: {opened.stages.shown(opened.path(report.REPORT))}")
    directory = opened.labels()
    listed = manifest.read(directory)
    path = next(e["path"] for e in listed["files"] if e["split"] == "eval" and e["rows"])
    clicks = f"{manifest.place(directory, listed)}/{path}"
    say(f"Try next: {program()} {shlex.join(['predict', saved_model, clicks])} --output predictions.csv")


def labels(context: typer.Context, config: Config, set_: Set = [], output: Output = "", overwrite: Overwrite = False):  # noqa: B006
    """Turn click and conversion logs into labelled TFRecords, and say whether multi-attribution learning may pay.

    Beam's flags, such as --runner=…, go after the config.

    With --runner=DataflowRunner --dry_run=true the job is described but not submitted.
    """
    from pipelines.core import beam_runner, files
    from pipelines.labels.run import REPORT

    if beam_runner.is_dry_run(beam_runner.pipeline_options(context.args)):
        _dry_run(context.args, config, set_, output)
        return
    with _run(context, config, set_, output, overwrite).opened() as opened:
        directory = opened.labels()
        if files.exists(opened.path("labels", REPORT)):
            _show_labels(opened)
        else:
            _print_handed_over(directory)


def _dry_run(flags: list[str], config: str, overrides: list[str], output: str) -> None:
    from pipelines.config.run import load
    from pipelines.labels.run import dry_run

    loaded = load(config, overrides)
    target = (output or default_output(loaded)).rstrip("/") + "/labels"
    console.print(dry_run(loaded, target, flags), markup=False, highlight=False, soft_wrap=True)


def validate(
    context: typer.Context,
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    infer_schema: Annotated[
        bool,
        typer.Option(
            "--infer-schema", help="Infer a first schema, for review, and write it to validation.schema_file."
        ),
    ] = False,
):
    """Check the labelled data against the schema. Anomalies are an error."""
    from pipelines.core import files

    with _run(context, config, set_, output).opened() as opened:
        if infer_schema:
            from google.protobuf import text_format

            from pipelines.validate.schema import infer_schema as infer
            from pipelines.validate.statistics import load

            target = opened.config.validation.schema_file
            if not target or files.exists(target):
                raise MalTfError(
                    f"validation.schema_file is {target or 'not set'}: name a file that does not exist yet"
                )
            schema = infer(load(opened.statistics())["train"], opened.config.feature_spec)
            files.write_text(target, text_format.MessageToString(schema))
            say(f"Wrote {target}. Review it by hand, then commit it.")
        directory = opened.validate()
        say(f"No anomalies. Statistics: {opened.files_of(directory)}/statistics.html")


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
            say(f"{name}: {opened.stages.shown(opened.train(name))}")
        _show_auxiliaries(opened)


def export(context: typer.Context, config: Config, set_: Set = [], output: Output = "", overwrite: Overwrite = False):  # noqa: B006
    """Export the trained models as SavedModels and check each in a fresh process."""
    with _run(context, config, set_, output, overwrite).opened() as opened:
        for name in opened.config.model.names:
            say(f"{name}: {opened.stages.shown(opened.export(name))}")


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
        typer.Option(
            metavar="NAME=SAVED_MODEL_DIR", help="Evaluate this export instead of the run's models. May be repeated."
        ),
    ] = [],  # noqa: B006
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="Evaluate with a Beam job, in bounded memory. Beam's flags may follow."),
    ] = False,
):
    """Evaluate exported models side by side, under every label and by slice, with intervals. See docs/evaluation.md."""
    import json

    from pipelines.clicks.predict import find_saved_model, parse_models
    from pipelines.core import files, text_table
    from pipelines.evaluate import tables
    from pipelines.evaluate.evaluate import METRICS

    if split not in ("eval", "train"):
        raise MalTfError(f"--split: expected eval or train, found '{split}'")
    run = _run(context, config, set_, output, overwrite)  # Sets the options of the filesystems.
    versions = {name: find_saved_model(directory) for name, directory in parse_models(model).items()}
    with run.opened() as opened:
        evaluation = opened.distributed_evaluation if distributed else opened.evaluation
        directory = evaluation(split, labels, versions)
        if not files.exists(f"{directory}/{METRICS}"):
            _print_handed_over(directory)
            return
        for table in tables.tables(json.loads(files.read_text(f"{directory}/{METRICS}"))):
            text_table.show(console, table)
        predictions = "" if distributed else ", and the clicks with their predictions beside it"
        say(f"{opened.files_of(directory)}/{METRICS}{predictions}")


def report(
    runs: Annotated[list[str], typer.Argument(help="Directories of runs, or of a retraining's spans.")],
    output: Annotated[
        str, typer.Option(help="HTML file to write. By default RUN/report.html, or report.html for several runs.")
    ] = "",
):
    """Write a self-contained HTML report on one run, or on several side by side."""
    from pipelines.report.write import REPORT, write

    page = output or (f"{runs[0].rstrip('/')}/{REPORT}" if len(runs) == 1 else REPORT)
    write(runs, page)
    say(page)


def predict(
    model: Annotated[str, typer.Argument(help="A SavedModel's directory, or the directory of its versions.")],
    file: Annotated[str, typer.Argument(help="Clicks: a table such as .csv or .parquet, or tf.Examples in TFRecords.")],
    output: Annotated[str, typer.Option(help="Where to write: .csv or .parquet.")] = "predictions.csv",
    id_column: Annotated[
        str, typer.Option("--id", help="Column to copy to the output. By default click_id, if there is one.")
    ] = "",
    null_value: Annotated[
        list[str],
        typer.Option(
            metavar="WORD", help="A word for null, as in null_values of the config's click table. May be repeated."
        ),
    ] = [],  # noqa: B006
):
    """Predict the CVR of clicks."""
    from pipelines.clicks.predict import predict as score

    say(f"{score(model, file, output, id_column, null_value or None):,} predictions in {output}")


def verify(
    directory: Annotated[
        str, typer.Argument(metavar="RUN", help="Directory of a run, a stage, a retraining or a simulated market.")
    ],
):
    """Check all files of finished stages against their manifests: presence, size, sha256, rows, and files of no stage.

    Exit codes: 0 all is as it was written, 1 a file differs, which is named.
    """
    from pipelines.core import text_table
    from pipelines.run.verify import differences, verify

    checked = verify(directory)
    rows = [
        [
            one.name,
            f"{one.files:,}",
            f"{one.bytes:,}",
            f"{one.hashed:,}",
            _verdict(len(one.problems) + len(one.strays), one.note),
        ]
        for one in checked
    ]
    columns = ["stage", "files", "bytes", "sha256 compared", "result"]
    text_table.show(console, text_table.Table(f"Files of {directory}", columns, rows))
    if found := differences(checked):
        for line in found:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        raise MalTfError(
            f"{directory}: files differ from the manifests ({len(found):,}); the first: {found[0]}. Restore them, or run the "
            "stages again"
        )


def explain(
    click_id: Annotated[
        str,
        typer.Argument(
            help="The click's id. Join the parts of an id of several columns with colons: 12:34:56. Put -- before an "
            "id that begins with two dashes."
        ),
    ],
    config: Config,
    set_: Set = [],  # noqa: B006
    output: Output = "",
    user: Annotated[str, typer.Option(help="The click's user, if several users have a click with this id.")] = "",
):
    """Explain a click of a run: its journey, each mechanism's credits, its labels, features and predictions.

    Reads the label files and all logs that the config names. Writes nothing.
    """
    from pipelines.config.run import load
    from pipelines.explain.explain import explain
    from pipelines.explain.show import progress, rows_read, show
    from pipelines.run.run import Run

    if os.path.isfile(click_id) and not os.path.exists(config):
        raise MalTfError(f"expected the click's id before the config; try: explain {config} {click_id}")
    loaded = load(config, set_)
    run = Run.to_read(loaded, output or default_output(loaded))
    labels, versions = run.finished_labels(), run.exported()
    with progress(console, rows_read(labels)) as advance:
        explanation = explain(loaded, labels, click_id, user, versions, advance)
    show(console, explanation)


def _run(
    context: typer.Context,
    config: str,
    overrides: list[str],
    output: str,
    overwrite: bool = False,
    strategy: str = "default",
):
    from pipelines.config.run import load
    from pipelines.core import beam_runner, stores
    from pipelines.run.run import Run

    own_flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("-")]
    options = beam_runner.pipeline_options(context.args, own_flags)  # Reports a mistyped flag before any work.
    if beam_runner.is_dry_run(options):
        raise MalTfError(
            "--dry_run=true is supported by `mal-tf labels` and `python -m pipelines.evaluate.distributed.main` only"
        )
    if strategy in ("multi_worker", "parameter_server"):
        stores.refuse(
            output, "--output", f"the processes of {strategy} share it; mount the store, or use a shared disk"
        )
    loaded = load(config, overrides)
    cluster = None
    if strategy != "default":
        from mal_tf.training.cluster import connect

        cluster = connect(strategy, loaded.training)
    if overwrite and cluster and cluster.in_step:
        raise MalTfError(
            "--overwrite can't be used with several processes, which can't tell a finished stage from one to be replaced; "
            "remove the stage's directory instead"
        )
    return Run.at(loaded, output or default_output(loaded), tuple(context.args), overwrite, cluster)


def _print_handed_over(directory: str) -> None:
    say(f"The job was handed to the runner. {directory} is finished when it holds manifest.json.")


def _verdict(differences: int, note: str) -> str:
    return f"{differences:,} differ" if differences else note or "as written"


def _show_labels(opened) -> None:
    import json

    from pipelines.cli.summary import show_labels
    from pipelines.core import files, text_table
    from pipelines.labels.expected_gain import expected_gain, table
    from pipelines.labels.run import REPORT

    report = json.loads(files.read_text(opened.path("labels", REPORT)))
    show_labels(console, report)
    text_table.show(console, table(expected_gain(report, opened.config.model.primary, opened.config.evaluation.growth)))


def _show_auxiliaries(opened) -> None:
    from pipelines.cli.summary import show_auxiliaries

    if choice := opened.auxiliaries():
        show_auxiliaries(console, choice)
