"""Running Beam pipelines: options that refuse unknown flags, a named local runner, errors for people."""

import argparse
import difflib
import logging
import re
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from features.errors import MalTfError

# DirectRunner may switch to Prism, which has to be downloaded; this one is in the package.
_LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(flags: Sequence[str] = ()) -> PipelineOptions:
    """Parses Beam's own flags.

    Raises:
        MalTfError: a flag that no Beam option knows, or a stray argument.
    """
    parser = argparse.ArgumentParser(
        allow_abbrev=False, exit_on_error=False, add_help=False, conflict_handler="resolve"
    )
    for options in dict.fromkeys(PipelineOptions.__subclasses__()):
        options._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(list(flags))
    except argparse.ArgumentError as error:
        raise MalTfError(f"Beam flag: {error}") from error
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        nearest = difflib.get_close_matches(unknown[0].split("=")[0], known, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise MalTfError(f"unknown flag '{unknown[0]}'{hint} (neither mal-tf nor Beam knows it)")
    parsed = PipelineOptions(list(flags))
    standard = parsed.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = _LOCAL_RUNNER
    return parsed


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on this machine, its data between steps in memory."""
    return options.view_as(StandardOptions).runner == _LOCAL_RUNNER


def run(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline to its end.

    Raises:
        MalTfError: raised in a worker, or the runner's state if it did not finish well.
    """
    harness = logging.getLogger("apache_beam")
    level = harness.level
    # A worker's error would be logged with its traceback at every step it passes through.
    harness.setLevel(logging.CRITICAL)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except MalTfError as error:
        raise MalTfError(_without_step(str(error))) from error
    except Exception as error:
        message = re.search(r"MalTfError: (.*?)(?: \[while running|\n\n|\Z)", str(error), re.DOTALL)
        if message:
            raise MalTfError(message.group(1).strip()) from error
        raise
    finally:
        harness.setLevel(level)
    if state != "DONE":
        raise MalTfError(f"the Beam job ended in state {state}; see the runner's log")


def _without_step(message: str) -> str:
    return message.split(" [while running", 1)[0]
