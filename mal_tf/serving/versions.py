"""The numbered directories of a model's versions."""

import pathlib
from collections.abc import Iterator


def numbered(directory: str) -> Iterator[tuple[int, pathlib.Path]]:
    """Yields what TensorFlow Serving takes for versions, complete or not: entries that are named by an integer."""
    for path in pathlib.Path(directory).glob("*"):
        if path.name.isascii() and path.name.isdigit():
            yield int(path.name), path
