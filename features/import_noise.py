"""Keeps notes that TensorFlow's native code writes while it is imported from users."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

#: Notes that TensorFlow 2.21 writes before it reads its log level, and TensorFlow Data Validation's on notebooks.
_NOISE = (
    "WARNING: All log messages before absl::InitializeLog",
    "I0000 .*(oneDNN custom operations|Could not find cuda drivers)",
    "Unable to import IPython",
    "TFDV visualization APIs will not function",
)


@contextlib.contextmanager
def without_import_noise() -> Iterator[None]:
    """Drop known notes of no use from what is written to standard error in the block.

    Native code writes to the file descriptor, so that is what goes through a filter, a process of its own: what is written
    just before a crash still arrives.

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
        except OSError:  # The process has no standard error, or the system no grep.
            yield
            return
        _flush()
        os.dup2(grep.stdin.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            grep.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):  # A child started meanwhile may still hold the pipe.
                grep.wait(timeout=1)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
