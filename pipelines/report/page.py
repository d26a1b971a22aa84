"""Renders the report of one run, or of several side by side, as a self-contained HTML page."""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

import jinja2
from google.protobuf.message import DecodeError
from markupsafe import Markup, escape

from features.errors import MalTfError
from pipelines.report import summary
from pipelines.report.parts import Part, Picture, missing
from pipelines.report.run_files import RunFiles
from pipelines.report.sections import (
    calibration,
    comparison,
    data,
    evaluation,
    gates,
    journeys,
    labels,
    model,
    provenance,
    slices,
    training,
)
from pipelines.report.svg import ID

#: Exceptions that reading a file of unexpected content may raise.
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, DecodeError)


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: the anchor.
        title: the heading.
        lead: the question that the section answers.
        parts: builds the section's parts for a run. A section without parts is left out.
    """

    key: str
    title: str
    lead: str
    parts: Callable[[RunFiles], list[Part]]


SECTIONS = (
    Section("verdict", "Verdict", "The result in short.", summary.parts),
    Section("gates", "Gates", "May the candidate serve?", gates.parts),
    Section("comparison", "Comparison", "How do models, targets and auxiliaries compare over seeds?", comparison.parts),
    Section("metrics", "Metrics", "How well do the models predict, under every mechanism's label?", evaluation.parts),
    Section("slices", "Slices", "Where does the served model gain, where does it lose?", slices.parts),
    Section("growth", "Gain and growth", "Does it gain where other mechanisms find more positives?", slices.growth),
    Section("calibration", "Calibration", "Are predictions probabilities, as bids need them?", calibration.parts),
    Section("labels", "Labels", "What did attribution make of the logs?", labels.parts),
    Section("journeys", "Journeys", "How do the mechanisms share the credit?", journeys.parts),
    Section("data", "Data checks", "Is the data as it should be?", data.parts),
    Section("training", "Training", "Did the models learn, and how fast?", training.parts),
    Section("model", "Model and serving", "What is served, how large is it, how fast does it answer?", model.parts),
    Section("made", "What was run", "From which config, code and data?", provenance.parts),
)


def render(runs: Sequence[RunFiles], folder: str) -> str:
    """Render the page of one or more runs as HTML. The same files give the same text.

    Args:
        runs: the runs, from left to right.
        folder: directory that the page will be written to; links to the runs' files are relative to it.
    """
    names, numbers = _names(runs), itertools.count(1)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )

    def svg(picture: Picture) -> Markup:
        """Return a picture's SVG with its description and with unique ids."""
        named = Markup('<svg role="img" aria-label="{}" ').format(picture.label)
        return Markup(picture.svg.replace("<svg ", named, 1).replace(ID, f"i{next(numbers)}-"))

    def source(run: RunFiles, paths: str) -> Markup:
        """Return comma-separated file names as links, if the files exist."""
        return Markup(", ").join(_link(run, path, folder) for path in paths.split(", "))

    sections = []
    for section in SECTIONS:
        by_run = [
            (name, run, _readable(functools.partial(section.parts, run))) for name, run in zip(names, runs, strict=True)
        ]
        if any(parts for *_, parts in by_run):
            sections.append((section, by_run))
    page = environment.get_template("page.html").render(
        names=names,
        runs=runs,
        sections=sections,
        compared=_readable(lambda: [summary.side_by_side(runs, names)])[0] if runs[1:] else None,
        css=Markup(environment.get_template("page.css").render()),
        svg=svg,
        source=source,
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """Return the names of the runs, with their directories if two have the same name."""
    names = []
    for run in runs:
        try:
            names.append(run.name)
        except _UNREADABLE as error:
            raise MalTfError(f"{run.directory}: the run's name can't be read: {error}; run it again") from error
    return [
        name if names.count(name) == 1 else f"{name} ({run.directory.resolve().name})"
        for name, run in zip(names, runs, strict=True)
    ]


def _readable(make: Callable[[], list[Part]]) -> list[Part]:
    """Return a section's parts, or a note that one of its files can't be read."""
    try:
        return make()
    except (*_UNREADABLE, MalTfError) as error:
        return [
            missing(
                f"A file is not as expected, or was written by another version of mal-tf: {type(error).__name__}: {error}"
            )
        ]


def _link(run: RunFiles, path: str, folder: str) -> Markup:
    if not run.has(path):
        return escape(path)
    place = run.stored(path) if os.path.abspath(folder) == os.path.abspath(run.directory) else path
    relative = os.path.relpath(run.directory / place, folder).replace(os.sep, "/")
    return Markup('<a href="{}">{}</a>').format(quote(relative), path)
