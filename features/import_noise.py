"""Filter for irrelevant messages that TensorFlow's native code writes to standard error while it is imported."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

#: Patterns of messages that TensorFlow 2.21 writes before it reads its log level, and of TFDV's messages about notebooks.
_NOISE = (
    "WARNING: All log messages before absl::InitializeLog",
    "I0000 .*(oneDNN custom operations|Could not find cuda drivers)",
    "Unable to import IPython",
    "TFDV visualization APIs will not function",
)


@contextlib.contextmanager
def without_import_noise() -> Iterator[None]:
    """Drops known irrelevant messages from standard error within the context.

    Native code writes to the file descriptor, which is therefore redirected to a separate filter process. Messages that are
    written just before a crash still arrive.

    Example:
        >>> with without_import_noise():
        ...     import tensorflow
    """
    with contextlib.ExitStack() as stack:
        try:
            stderr = os.dup(2)
            stack.callback(os.close, stderr)
            command = ["grep", "--line-buffered", "-vE", f"^({'|'.join(_NOISE)})"]
            grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr)
        except OSError:  # The process has no standard error, or the system has no grep.
            yield
            return
        assert grep.stdin is not None  # It is a pipe.
        _flush()
        os.dup2(grep.stdin.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            grep.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # A child process may still hold the pipe.
                grep.wait(timeout=1)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
