"""Building and running Beam pipelines: flag parsing, the local runner, and errors raised in workers."""

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
from pipelines.core import engines, files, manifest, stores

#: The runner used in place of DirectRunner, which may switch to Prism and would have to download it.
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

#: Subdirectory of an output directory for tables passed between steps, which the runner would otherwise hold in memory.
#: Removed at the end of the job.
EXCHANGE = "_exchange"

_BOOLEAN = {False: False, "false": False, "False": False, "true": True, "True": True}


def pipeline_options(flags: Sequence[str] = (), command_flags: Sequence[str] = ()) -> PipelineOptions:
    """Parses Beam's command-line flags, which its filesystems use from then on.

    Args:
        flags: Beam flags as given on the command line.
        command_flags: flags of the mal-tf command, suggested as corrections of a misspelt flag.

    Raises:
        MalTfError: an unknown flag, an invalid value, or a stray positional argument.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, exit_on_error=False, add_help=False, conflict_handler="resolve"
    )
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)  # type: ignore[arg-type]  # Beam's own subclass only checks names
    try:
        _, unknown = parser.parse_known_args(list(flags))
        if unknown:
            valued, switches = engines.server_flags(PipelineOptions(list(flags)))
            for name in valued:
                parser.add_argument(f"--{name}")
            for name in switches:
                parser.add_argument(f"--{name}", action="store_true")
            _, unknown = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise MalTfError(f"Beam flag: {error}") from error
    if unknown:
        valid_flags = [*command_flags, *(option for action in parser._actions for option in action.option_strings)]
        nearest = difflib.get_close_matches(unknown[0].split("=")[0], valid_flags, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise MalTfError(f"unknown flag '{unknown[0]}'{hint} (neither mal-tf nor Beam knows it)")
    parsed = PipelineOptions(list(flags))
    stores.use_options(parsed)
    standard, test = parsed.view_as(StandardOptions), parsed.view_as(TestOptions)
    if (standard.runner or "DirectRunner").lower() == "directrunner":  # Case-insensitive, as in Beam.
        standard.runner = LOCAL_RUNNER
    if test.dry_run not in _BOOLEAN:  # Beam reads any non-empty text, even "false", as true.
        raise MalTfError(f"--dry_run: expected true or false, found '{test.dry_run}'")
    test.dry_run = _BOOLEAN[test.dry_run]
    return parsed


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on this machine, holding data between steps in memory."""
    return options.view_as(StandardOptions).runner == LOCAL_RUNNER


def is_dry_run(options: PipelineOptions) -> bool:
    """Whether the job is only described (see `pipelines.core.dataflow`) rather than run."""
    return options.view_as(TestOptions).dry_run


def check_remote_paths(options: PipelineOptions, paths: Iterable[tuple[str, str]]) -> None:
    """Checks that remote workers can access the paths that a job reads and writes.

    Args:
        options: the job's, whose flag --shared_disk says that the workers have this machine's disk, too.
        paths: pairs of a description, such as `input`, and a path.

    Raises:
        MalTfError: a path is on this machine's disk.
    """
    for description, path in paths:
        if files.is_local(path) and not options.view_as(engines.EngineOptions).shared_disk:
            raise MalTfError(
                f"{description} {path} is on this machine's disk, which the workers of a remote runner cannot access; "
                "move it to gs://…, or leave out --runner to run locally, or give --shared_disk if it is the workers', too"
            )


def pipeline(options: PipelineOptions) -> beam.Pipeline:
    """Creates an empty pipeline with the given options.

    Raises:
        MalTfError: the runner rejects these flags.
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
            f"--dry_run=true: expected --runner=DataflowRunner, found {runner}, which has nothing to submit. "
            "Run the job on a sample instead."
        )
    # Without a valid location Beam would look up or create a default bucket.
    validator, cloud = PipelineOptionsValidator(options, None), options.view_as(GoogleCloudOptions)
    errors = [validator.validate_gcs_path(cloud, name) for name in ("temp_location", "staging_location")]
    if all(errors):
        raise MalTfError(f"Beam flags: {errors[0][0]} Give --temp_location=gs://BUCKET/FOLDER.")


def run_into(
    output: str, job: beam.Pipeline, overwrite: bool = False, backup: str = "", needs: Iterable[str] = ()
) -> bool:
    """Runs a pipeline whose last step finishes an output directory.

    Args:
        output: the directory, which is emptied first, when all that a cluster needs is known to be there.
        job: the pipeline. It is built before the directory is emptied, since building it may read what it replaces.
        overwrite: whether a finished `output` may be replaced.
        backup: path that holds the previous finished output during the run and from which it is restored on failure; see
            `manifest.replaced`. If empty, the previous output is deleted.
        needs: files that the workers read; those of a portable runner are asked whether they see them.

    Returns:
        Whether the job has run to completion; see `run`.

    Raises:
        MalTfError: see `run`, `manifest.begin` and `engines.check`.
    """
    if not is_local(job.options):
        engines.check(job.options)
        if engines.is_portable(job.options):
            _finish(engines.probe(job.options, [*needs], output))
    with manifest.replaced(output, backup) if backup else contextlib.nullcontext():
        manifest.begin(output, overwrite)
        try:
            return run(job)
        finally:  # After a failure too. Local runners return only when no worker is running.
            shutil.rmtree(FileSystems.join(output, EXCHANGE), ignore_errors=True)


def run(pipeline: beam.Pipeline) -> bool:
    """Runs a pipeline and waits for it to finish, unless the flags say otherwise.

    Returns:
        Whether the job has run to completion. False with `--no_wait_until_finish`, and with `--template_location`, which
        the launcher of a flex template sets and which only writes a template for Dataflow to start.

    Raises:
        BadInput: a worker raised it.
        MalTfError: a worker raised it, a cluster could not run the job, or it ended in a state other than `DONE`.
    """
    options = pipeline.options
    wait = not (
        options.view_as(GoogleCloudOptions).template_location or options.view_as(StandardOptions).no_wait_until_finish
    )
    _finish(pipeline, wait)
    return wait


def _finish(pipeline: beam.Pipeline, wait: bool = True) -> None:
    harness, root = logging.getLogger("apache_beam"), logging.getLogger()
    level, local, runner = harness.level, is_local(pipeline.options), engines.runner_of(pipeline.options)
    # Beam would log a worker's error with its traceback at every step that it propagates through.
    harness.setLevel(logging.CRITICAL)
    root.addFilter(engines.not_of_portable_runner)
    try:
        result = pipeline.run()
        if not wait:
            return
        state = result.wait_until_finish()
    except MalTfError as error:
        raise type(error)(_without_step(str(error))) from error
    except Exception as error:
        message = re.search(r"(MalTfError|BadInput): (.*?)(?: \[while running|\n\n|\Z)", str(error), re.DOTALL)
        if message:
            kind = BadInput if message.group(1) == BadInput.__name__ else MalTfError
            raise kind(message.group(2).strip()) from error
        if not local:
            raise MalTfError(engines.in_one_line(runner, error)) from error
        raise
    finally:
        root.removeFilter(engines.not_of_portable_runner)
        harness.setLevel(level)
    if state != "DONE":
        raise MalTfError(f"the Beam job ended in state {state}; see the runner's log")


def _without_step(message: str) -> str:
    """Removes the step name that Beam appends to an error message."""
    return message.split(" [while running", 1)[0]
