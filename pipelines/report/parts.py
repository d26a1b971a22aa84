"""Parts of the page's sections: text, tables, figures, verdicts."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pipelines.core.text_table import Table

#: How a difference reads. Each has a sign and words beside its colour.
Reading = Literal["better", "worse", "open"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: of it.
        source: file of the run that it is drawn from, relative to its directory.
        missing: whether it says that something is missing.
    """

    text: str
    source: str = ""
    missing: bool = False
    kind: str = dataclasses.field(default="text", init=False)


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of lines under a line.

    Attributes:
        title: above it.
        lines: of it.
        source: see `Text`.
    """

    title: str
    lines: Sequence[str]
    source: str = ""
    kind: str = dataclasses.field(default="items", init=False)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A table.

    Attributes:
        table: its title is the caption, its note stands below.
        source: see `Text`.
    """

    table: Table
    source: str = ""
    kind: str = dataclasses.field(default="numbers", init=False)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        svg: of `pipelines.report.svg.inline`.
        title: above it.
        label: description for screen readers.
        caption: how to read it.
        source: see `Text`.
        table: its numbers.
        wide: takes the page's width, and scrolls on a phone.
    """

    svg: str
    title: str
    label: str
    caption: str
    source: str
    table: Table | None = None
    wide: bool = False
    kind: str = dataclasses.field(default="picture", init=False)


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Key numbers: name, value and meaning."""

    tiles: Sequence[tuple[str, str, str]]
    source: str = ""
    kind: str = dataclasses.field(default="tiles", init=False)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A finding, in a sentence.

    Attributes:
        reading: of it.
        sentence: of it.
        source: see `Text`.
        numbers: that it rests on.
    """

    reading: Reading
    sentence: str
    source: str = ""
    numbers: Sequence[str] = ()
    kind: str = dataclasses.field(default="verdict", init=False)


@dataclasses.dataclass(frozen=True)
class Folded:
    """Parts that are folded until the reader opens them.

    Attributes:
        title: of what is folded.
        parts: within.
    """

    title: str
    parts: Sequence["Part"]
    kind: str = dataclasses.field(default="folded", init=False)


@dataclasses.dataclass(frozen=True)
class Code:
    """A file's verbatim text, folded."""

    title: str
    text: str
    source: str
    kind: str = dataclasses.field(default="code", init=False)


Part = Text | Items | Numbers | Picture | Tiles | Verdict | Folded | Code


def missing(text: str) -> Text:
    """A note that something is missing, and why."""
    return Text(text, missing=True)
