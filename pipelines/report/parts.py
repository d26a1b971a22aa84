"""Building blocks of the page's sections: text, lists, tables, figures, verdicts."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from pipelines.core.text_table import Table

#: Direction of a difference; `open` if no difference is shown. The page marks each by a sign beside its colour.
Reading = Literal["better", "worse", "open"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: the text.
        source: file of the run that the content is from, relative to its directory; comma-separated if several.
        missing: whether the text notes that something is missing.
    """

    text: str
    source: str = ""
    missing: bool = False
    kind: str = dataclasses.field(default="text", init=False)


@dataclasses.dataclass(frozen=True)
class Items:
    """A bulleted list with a title.

    Attributes:
        title: the title.
        lines: the items.
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
        table: its title is shown as the caption, its note below it.
        source: see `Text`.
    """

    table: Table
    source: str = ""
    kind: str = dataclasses.field(default="numbers", init=False)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        svg: the figure, from `pipelines.report.svg.inline`.
        title: the title above it.
        label: description for screen readers.
        caption: how to read it.
        source: see `Text`.
        table: the numbers that are drawn.
        wide: whether it takes the whole width of the page, and scrolls on a phone.
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
    """Key numbers, each with its name, value and meaning."""

    tiles: Sequence[tuple[str, str, str]]
    source: str = ""
    kind: str = dataclasses.field(default="tiles", init=False)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A finding, in a sentence.

    Attributes:
        reading: whether the finding is better, worse or open.
        sentence: the finding in words.
        source: see `Text`.
        numbers: lines with the numbers that it rests on.
    """

    reading: Reading
    sentence: str
    source: str = ""
    numbers: Sequence[str] = ()
    kind: str = dataclasses.field(default="verdict", init=False)


@dataclasses.dataclass(frozen=True)
class Folded:
    """Parts that are hidden until the reader opens them.

    Attributes:
        title: the title, which is always shown.
        parts: the hidden parts.
    """

    title: str
    parts: Sequence["Part"]
    kind: str = dataclasses.field(default="folded", init=False)


@dataclasses.dataclass(frozen=True)
class Code:
    """A file's verbatim text, hidden until the reader opens it."""

    title: str
    text: str
    source: str
    kind: str = dataclasses.field(default="code", init=False)


Part = Text | Items | Numbers | Picture | Tiles | Verdict | Folded | Code


def missing(text: str) -> Text:
    """Return a note that something is missing, and why."""
    return Text(text, missing=True)
