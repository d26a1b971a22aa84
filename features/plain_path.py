"""Paths for TensorFlow's readers, which take the characters of globs in the path of a checkpoint for a pattern."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def plain_path(directory: str) -> Iterator[str]:
    """Context manager with a path to a local directory that holds no pattern: its own, or a link to it."""
    if not re.search(r"[*?\[\\]", os.path.abspath(directory)) or "://" in directory:
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "link")
        os.symlink(os.path.abspath(directory), link)
        yield link
