"""Runs the evaluation job alone, for Dataflow:
`python -m pipelines.evaluate.distributed.main --config=FILE --labelled=DIRECTORY --model=NAME=SAVED_MODEL_DIR
--output=DIRECTORY [Beam's flags]`.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from pipelines.labels.main import started

log = logging.getLogger("mal_tf.evaluate")


def main(flags: Sequence[str] | None = None) -> int:
    """Run the evaluation job and return the exit status: 0, or 1 after a MalTfError, which is logged."""
    return started(_run, flags)


def _run(flags: Sequence[str]) -> None:
    from pipelines.config.run import load
    from pipelines.core import beam_runner, files, locks
    from pipelines.evaluate.distributed import run
    from pipelines.evaluate.distributed.options import EvaluationOptions
    from pipelines.labels.options import LabelOptions

    if "--help" in flags or "-h" in flags:
        parser = argparse.ArgumentParser(
            "python -m pipelines.evaluate.distributed.main", description=__doc__, add_help=False
        )
        for kind in (LabelOptions, EvaluationOptions):
            kind._add_argparse_args(parser)
        parser.print_help()
        return
    options = beam_runner.pipeline_options(flags).view_as(EvaluationOptions)
    options.check()
    shared, versions = options.view_as(LabelOptions), options.versions
    evaluation = run.Evaluation(
        load(shared.config, shared.overrides),
        options.labelled,
        versions,
        options.split,
        options.trained,
        options.shards,
    )
    if beam_runner.is_dry_run(options):
        print(run.dry_run(evaluation, shared.output, flags))
        return
    files.check_apart(shared.output, [shared.config])
    with locks.lock(shared.output):
        result = run.run(evaluation, shared.output, flags, shared.overwrite)
    if result is None:
        log.info("The job was handed to the runner; %s is finished when it holds manifest.json.", shared.output)
        return
    for name, metrics in result["models"].items():
        log.info(
            "%s: AUC %.4f, GAUC %.4f over %s clicks", name, metrics["auc"], metrics["gauc"], f"{metrics['clicks']:,}"
        )


if __name__ == "__main__":
    sys.exit(main())
