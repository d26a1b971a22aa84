"""Writes the report, on demand or at the end of a run. An error in the report does not fail the run."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence

from features.errors import Busy, Interrupted, MalTfError
from pipelines.core import files
from pipelines.core.layout import CONFIG, FAILED, REPORT, RUN, STAGES
from pipelines.core.mirror import Mirror
from pipelines.labels.finish import REPORT as LABEL_REPORT

log = logging.getLogger("mal_tf.report")


def write(directories: Sequence[str], output: str) -> None:
    """Write the report on one run, or on several side by side.

    Args:
        directories: directories of runs, or of a retraining's spans.
        output: path of the HTML file to write.

    Raises:
        MalTfError: a directory is not a run's, or the page can't be written.
    """
    from pipelines.report import page
    from pipelines.report.run_files import RunFiles

    kept = [f"{directory}/{name}" for directory in directories for name in (CONFIG, RUN)]
    files.check_apart(output, [path for path in kept if files.exists(path)])
    within = any(files.is_within(output, directory) for directory in directories)
    if os.path.isdir(output) or (within and os.path.exists(output) and not output.endswith(".html")):
        raise MalTfError(f"{output}: expected an HTML file to write, found a directory, or a file of the run")
    here = [_here(directory) for directory in directories]
    # Links are relative, so that those of a report beside its run are right on an object store, too.
    beside = [copy for copy, directory in zip(here, directories, strict=True) if files.is_within(output, directory)]
    folder = str(pathlib.Path(output).absolute().parent) if files.is_local(output) else (beside or [""])[0]
    runs = [RunFiles(directory) for directory in here]
    files.write_text(output, page.render(runs, folder))
    for run in runs:
        for stage, reason in run.outdated.items():
            log.warning("%s/%s: %s; `mal-tf run` brings it up to date", run.directory, stage, reason)


def _here(directory: str) -> str:
    """The directory of a run, or a local copy of its finished stages, without the clicks."""
    if files.is_local(directory):
        return directory
    mirror = Mirror.to_read(directory)
    mirror.receive_files((CONFIG, RUN, STAGES, FAILED))
    for stage in mirror.stages():
        mirror.receive(stage, names=[LABEL_REPORT] if stage == "labels" else None)
    return mirror.local


@contextlib.contextmanager
def at_the_end(directory: str) -> Iterator[None]:
    """Write a run's report when the block ends, also if it ends with a `MalTfError`, as users then look at the report.

    An error in the report itself is logged as a warning only, as the run's result does not depend on it.
    """
    try:
        yield
    except (Busy, Interrupted):  # The run is not over: it will be resumed, or another process is at work on it.
        raise
    except MalTfError:
        _write_or_warn(directory)
        raise
    _write_or_warn(directory)


def _write_or_warn(directory: str) -> None:
    path = f"{directory.rstrip('/')}/{REPORT}"
    if not pathlib.Path(directory, RUN).is_file():
        return
    try:
        write([directory], path)
    except Exception as error:
        log.warning(
            "the report was not written: %s: %s", type(error).__name__, error, exc_info=log.isEnabledFor(logging.DEBUG)
        )
    else:
        log.info("report: %s", path)
