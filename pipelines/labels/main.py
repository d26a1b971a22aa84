"""Entry point of the label job: `python -m pipelines.labels.main --config=FILE --output=DIRECTORY [Beam flags]`.

A Dataflow flex template launches it (`deploy/dataflow/`). It does not import TensorFlow.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from features.errors import MalTfError

log = logging.getLogger("mal_tf.labels")


def main(flags: Sequence[str] | None = None) -> int:
    """Runs the label job and returns the exit status, 1 after a `MalTfError` and 0 otherwise."""
    return started(_run, flags)


def started(run: Callable[[Sequence[str]], None], flags: Sequence[str] | None) -> int:
    """Runs a job with logging and error messages for the console, by default with the flags of the process.

    Returns:
        The exit status, 1 after a `MalTfError` and 0 otherwise.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)  # Google's client libraries warn on import.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    for name in ("mal_tf", "apache_beam.runners.dataflow"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        run(sys.argv[1:] if flags is None else flags)
    except MalTfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(flags: Sequence[str]) -> None:
    from pipelines.config.run import load
    from pipelines.core import beam_runner, files, locks
    from pipelines.labels import run
    from pipelines.labels.options import LabelOptions

    if "--help" in flags or "-h" in flags:
        parser = argparse.ArgumentParser("python -m pipelines.labels.main", description=__doc__, add_help=False)
        LabelOptions._add_argparse_args(parser)
        parser.print_help()
        return
    options = beam_runner.pipeline_options(flags).view_as(LabelOptions)
    options.check()
    config = load(options.config, options.overrides)
    if beam_runner.is_dry_run(options):
        print(run.dry_run(config, options.output, flags))
        return
    files.check_apart(options.output, [options.config])
    with locks.lock(options.output):
        report = run.run(config, options.output, flags, options.overwrite)
    if report is None:
        log.info("The job was handed to the runner; %s is finished when it holds manifest.json.", options.output)
    else:
        log.info("%s: %s clicks labelled", options.output, f"{report['clicks']['written']:,}")


if __name__ == "__main__":
    sys.exit(main())
