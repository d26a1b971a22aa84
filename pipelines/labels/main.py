"""The label job by itself: `python -m pipelines.labels.main --config=FILE --output=DIRECTORY [Beam's flags]`.

This is what a Dataflow flex template launches (`deploy/dataflow/`). Nothing here imports TensorFlow.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from features.errors import MalTfError
from pipelines import beam, dataflow
from pipelines.config import load
from pipelines.labels import run
from pipelines.labels.options import LabelOptions

log = logging.getLogger("mal_tf.labels")


def main(flags: Sequence[str] | None = None) -> int:
    """Runs the label job; returns the exit status: 0, or 1 after an error for people."""
    flags = sys.argv[1:] if flags is None else list(flags)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("mal_tf").setLevel(logging.INFO)
    if "--help" in flags or "-h" in flags:
        parser = argparse.ArgumentParser("python -m pipelines.labels.main", description=__doc__, add_help=False)
        LabelOptions._add_argparse_args(parser)
        parser.print_help()
        return 0
    try:
        _run(flags)
    except MalTfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(flags: Sequence[str]) -> None:
    options = beam.pipeline_options(flags).view_as(LabelOptions)
    options.check()
    config = load(options.config, options.overrides)
    if beam.is_dry_run(options):
        print(dataflow.describe(run.pipeline(config, options.output, flags)))
        return
    report = run.run(config, options.output, flags, options.overwrite)
    if report is None:
        log.info("The job was handed to the runner; %s is finished when it holds manifest.json", options.output)
    else:
        log.info("%s: %s clicks labelled", options.output, f"{report['clicks']['written']:,}")


if __name__ == "__main__":
    sys.exit(main())
