"""Tables that `mal-tf history` prints: all runs, the attempts at a span, the lineage of the serving model."""

import datetime
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.tree import Tree

from features.errors import MalTfError
from pipelines.retrain.history import ABANDONED, RUNNING, History, absolute
from pipelines.retrain.history_records import Run, Stage
from pipelines.retrain.lineage import Node, generations, lineage
from pipelines.retrain.serving import Version


def show_runs(console: Console, history: History, versions: Sequence[Version] = ()) -> None:
    """Print all runs, the newest last, and below them the versions that are copies made by rollbacks."""
    table = _table("Runs", "span", "attempt", "started", "took", "outcome", "reasons")
    for run in history.runs():
        table.add_row(
            *_cells(run.span, run.attempt, _moment(run.started), _duration(run), run.outcome, _lines(run.reasons))
        )
    console.print(table)
    for version in versions:
        if origin := version.lineage.get("rolled_back_from"):
            rollback = f"version {version.number}: rolled back from version {origin} to {version.origin}"
            console.print(
                f"{rollback}, the model of span {version.lineage.get('span', '?')}", highlight=False, soft_wrap=True
            )


def show_span(console: Console, history: History, span: str, root: str) -> None:
    """Print each attempt at a span, stage by stage, with paths relative to `root`.

    Raises:
        MalTfError: the span was never run.
    """
    attempts = [run for run in history.runs() if run.span == span]
    if not attempts:
        spans = sorted({run.span for run in history.runs()})
        between = f"; there are {len(spans)} from {spans[0]} to {spans[-1]}" if spans else ""
        raise MalTfError(f"--span {span}: expected a span that was run, found none such{between}")
    for run in attempts:
        title = f"{span}, attempt {run.attempt}: {run.outcome}"
        table = _table(title, "stage", "state", "took", "made, or why not")
        for stage in history.stages(run):
            outputs = [f"{artifact.kind} {_relative(artifact.uri, root)}" for artifact in history.outputs(stage)]
            table.add_row(*_cells(stage.name, stage.state, _duration(stage), stage.reason or _lines(outputs)))
        console.print(table)
        made_by = f"config {run.config}, revision {run.revision}, started {_moment(run.started)}"
        for line in (made_by, *run.reasons):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_serving(console: Console, history: History, version: Version | None, root: str) -> None:
    """Print the lineage of the serving model: a row for each training since the one from scratch, then its run's artifacts.

    Paths are relative to `root`.

    Raises:
        MalTfError: no model serves, or the history has no record of it.
    """
    if version is None:
        raise MalTfError(f"{root}: expected a serving model, found none: no model was pushed yet")
    back = f", rolled back from version {origin}" if (origin := version.lineage.get("rolled_back_from")) else ""
    console.print(f"{version.path} serves{back}", markup=False, highlight=False, soft_wrap=True)
    # Copies made by rollbacks are not recorded, nor is a push that was killed at its very end.
    pushed = history.last_made(version.path)
    node = lineage(history, version.path if pushed else version.lineage.get("model", version.path))
    title = "Trainings, the newest first; each started from the next one's weights"
    table = _table(title, "span", "model", "trained on", "labels", "attribution fitted by", "config", "revision")
    for model in generations(node):
        labels = [part.artifact for part in model.inputs if part.artifact.kind == "labels"]
        places = [_relative(label.uri, root) for label in labels]
        fits = [_relative(label.properties.get("fitted_by", "?"), root) for label in labels]
        span, *versions = (model.run.span, model.run.config[:12], model.run.revision[:12]) if model.run else ("?",) * 3
        where, days = _relative(model.artifact.uri, root), model.artifact.properties.get("days", "?")
        table.add_row(*_cells(span, where, days, _lines(places), _lines(fits), *versions))
    console.print(table)
    tree = Tree(_line(node, root))
    _add_inputs(tree, node, root, {node})
    console.print(tree)


def _add_inputs(branch: Tree, node: Node, root: str, shown: set[Node]) -> None:
    """Add the inputs of `node` to a tree. Inputs from other spans, and those shown before, are not expanded."""
    for part in node.inputs:
        added, seen = branch.add(_line(part, root)), part in shown
        shown.add(part)
        if not seen and part.run and node.run and part.run.span == node.run.span:
            _add_inputs(added, part, root, shown)


def _line(node: Node, root: str) -> str:
    by = f" ← {node.stage.name} of {node.run.span}" if node.stage and node.run else ""
    return escape(f"{node.artifact.kind} {_relative(node.artifact.uri, root)}{by}")


def _relative(uri: Any, root: str) -> str:
    return uri.removeprefix(f"{absolute(root)}/")


def _table(title: str, *columns: str) -> Table:
    """Return a table whose long cells are wrapped."""
    return Table(*(Column(name, overflow="fold") for name in columns), title=escape(title))


def _cells(*values) -> list[str]:
    return [escape(str(value)) for value in values]


def _lines(texts) -> str:
    return "\n".join(texts)


def _moment(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _duration(record: Run | Stage) -> str:
    """Format the duration from start to end; a dash if the end is not known."""
    state = record.state if isinstance(record, Stage) else record.outcome
    seconds = (record.changed - record.started).total_seconds()
    return "–" if state in ("RUNNING", "CANCELED", RUNNING, ABANDONED) else f"{seconds:,.1f} s"
