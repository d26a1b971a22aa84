"""Writes the report: on demand, and at the end of a run, which an error in the report does not fail."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Sequence

from features.errors import Busy, Interrupted, MalTfError
from pipelines.core import files

#: The page of a run, in its directory.
REPORT = "report.html"

log = logging.getLogger("mal_tf.report")


def write(directories: Sequence[str], output: str) -> None:
    """Writes the page of these runs, side by side.

    Args:
        directories: of runs, or of a retraining's spans.
        output: the file to write.

    Raises:
        MalTfError: a directory is no run's, or the page can't be written.
    """
    from pipelines.report import page
    from pipelines.report.run_files import RunFiles

    folder = str(pathlib.Path(output).absolute().parent)
    files.write_text(output, page.render([RunFiles(directory) for directory in directories], folder))


@contextlib.contextmanager
def at_the_end(directory: str) -> Iterator[None]:
    """Writes a run's page when the block ends, also with an error for users: that is when they look at it.

    What goes wrong with the page itself is a warning: the model is made, or refused, all the same.
    """
    try:
        yield
    except (Busy, Interrupted):  # There will be an end, of this process or of the one that is at it.
        raise
    except MalTfError:
        _try(directory)
        raise
    _try(directory)


def _try(directory: str) -> None:
    path = f"{directory.rstrip('/')}/{REPORT}"
    if not pathlib.Path(directory, "run.json").is_file():
        return
    try:
        write([directory], path)
    except Exception as error:
        log.warning(
            "the report was not written: %s: %s", type(error).__name__, error, exc_info=log.isEnabledFor(logging.DEBUG)
        )
    else:
        log.info("report: %s", path)
