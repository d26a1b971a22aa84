"""Runs Beam pipelines: unknown flags are refused, the local runner is fixed, workers' errors become messages for users."""

import argparse
import contextlib
import difflib
import logging
import re
import shutil
from collections.abc import Iterable, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions, TestOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

from features.errors import BadInput, MalTfError
from pipelines.core import files, manifest

#: DirectRunner may switch to Prism, which has to be downloaded; this one is in the package.
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

#: In an output directory, tables in exchange between two steps that the runner would hold in memory; removed at the end.
EXCHANGE = "_exchange"

_BOOLEAN = {False: False, "false": False, "False": False, "true": True, "True": True}


def pipeline_options(flags: Sequence[str] = (), others: Sequence[str] = ()) -> PipelineOptions:
    """Parses Beam's own flags.

    Args:
        flags: as given.
        others: flags of the command itself, to suggest for a misspelt one.

    Raises:
        MalTfError: a flag that no Beam option knows, or a stray argument.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, exit_on_error=False, add_help=False, conflict_handler="resolve"
    )
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)  # type: ignore[arg-type]  # Beam's own subclass only checks names
    try:
        _, unknown = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise MalTfError(f"Beam flag: {error}") from error
    if unknown:
        valid_flags = [*others, *(option for action in parser._actions for option in action.option_strings)]
        nearest = difflib.get_close_matches(unknown[0].split("=")[0], valid_flags, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise MalTfError(f"unknown flag '{unknown[0]}'{hint} (neither mal-tf nor Beam knows it)")
    parsed = PipelineOptions(list(flags))
    standard, test = parsed.view_as(StandardOptions), parsed.view_as(TestOptions)
    if (standard.runner or "DirectRunner").lower() == "directrunner":  # As Beam does, in any case of letters.
        standard.runner = LOCAL_RUNNER
    if test.dry_run not in _BOOLEAN:  # Beam takes any text for yes, even false.
        raise MalTfError(f"--dry_run: expected true or false, found '{test.dry_run}'")
    test.dry_run = _BOOLEAN[test.dry_run]
    return parsed


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on this machine, its data between steps in memory."""
    return options.view_as(StandardOptions).runner == LOCAL_RUNNER


def is_dry_run(options: PipelineOptions) -> bool:
    """Whether the job is to be described (`pipelines.core.dataflow`) rather than run."""
    return options.view_as(TestOptions).dry_run


def check_in_reach(places: Iterable[tuple[str, str]]) -> None:
    """Checks that remote workers can reach what a job reads and writes.

    Args:
        places: what each is, and its path.

    Raises:
        MalTfError: one is on this machine's disk.
    """
    for what, path in places:
        if files.is_local(path):
            raise MalTfError(
                f"{what} {path} is on this machine's disk, which the workers of a remote runner don't have: "
                "put it on gs://…, or leave out --runner to run here"
            )


def pipeline(options: PipelineOptions) -> beam.Pipeline:
    """A new pipeline.

    Raises:
        MalTfError: the runner can't work with these flags.
    """
    if is_dry_run(options):
        _check_dry_run(options)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        raise MalTfError(f"Beam flags: {error}") from error


def _check_dry_run(options: PipelineOptions) -> None:
    runner = options.view_as(StandardOptions).runner.rpartition(".")[2]
    if runner.lower() != "dataflowrunner":
        raise MalTfError(
            f"--dry_run=true goes with --runner=DataflowRunner, found {runner}: there is nothing to submit elsewhere. "
            "Run the job on a sample instead."
        )
    # Without a valid one Beam would look for a default bucket, or make one.
    validator, cloud = PipelineOptionsValidator(options, None), options.view_as(GoogleCloudOptions)
    errors = [validator.validate_gcs_path(cloud, name) for name in ("temp_location", "staging_location")]
    if all(errors):
        raise MalTfError(f"Beam flags: {errors[0][0]} Give --temp_location=gs://BUCKET/FOLDER.")


def run_into(output: str, job: beam.Pipeline, overwrite: bool = False, aside: str = "") -> bool:
    """Runs a pipeline whose last step finishes a directory; returns what `run` returns.

    Args:
        output: the directory, made fresh.
        job: the pipeline, built before the directory is emptied, as building it may read what it replaces.
        overwrite: whether a finished `output` may be replaced.
        aside: where the finished one lies meanwhile, to come back if this one fails; see `manifest.replaced`. Without, it is
            gone.

    Raises:
        MalTfError: see `run` and `manifest.begin`.
    """
    with manifest.replaced(output, aside) if aside else contextlib.nullcontext():
        manifest.begin(output, overwrite)
        try:
            return run(job)
        finally:  # After a failure too; local runners come back when nothing runs any more.
            shutil.rmtree(FileSystems.join(output, EXCHANGE), ignore_errors=True)


def run(pipeline: beam.Pipeline) -> bool:
    """Runs a pipeline, and waits for its end unless the flags say otherwise.

    Returns:
        Whether it ran to its end: not if it became a template for Dataflow to start (`--template_location`, as a flex
        template's launcher gives it), or with `--no_wait_until_finish`.

    Raises:
        BadInput: raised in a worker.
        MalTfError: raised in a worker, or the runner's state if it did not finish well.
    """
    options = pipeline.options
    harness = logging.getLogger("apache_beam")
    level = harness.level
    # A worker's error would be logged with its traceback at every step it passes through.
    harness.setLevel(logging.CRITICAL)
    try:
        result = pipeline.run()
        if (
            options.view_as(GoogleCloudOptions).template_location
            or options.view_as(StandardOptions).no_wait_until_finish
        ):
            return False
        state = result.wait_until_finish()
    except MalTfError as error:
        raise type(error)(_without_step(str(error))) from error
    except Exception as error:
        message = re.search(r"(MalTfError|BadInput): (.*?)(?: \[while running|\n\n|\Z)", str(error), re.DOTALL)
        if message:
            kind = BadInput if message.group(1) == BadInput.__name__ else MalTfError
            raise kind(message.group(2).strip()) from error
        raise
    finally:
        harness.setLevel(level)
    if state != "DONE":
        raise MalTfError(f"the Beam job ended in state {state}; see the runner's log")
    return True


def _without_step(message: str) -> str:
    return message.split(" [while running", 1)[0]
