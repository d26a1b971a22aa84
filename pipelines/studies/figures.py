"""Figures of studies as SVG files, the same bytes for the same numbers."""

import contextlib
import io
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

from pipelines.core import files


@contextlib.contextmanager
def styled(salt: str) -> Iterator[None]:
    """Sets the style of the figures that are drawn and saved inside; `salt` makes the names in the files constant."""
    with matplotlib.rc_context({"svg.hashsalt": salt, "font.size": 8}):
        yield


def save(figure: Figure, path: str) -> str:
    """Writes a figure, and returns its path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    files.write_bytes(path, buffer.getvalue())
    return path
