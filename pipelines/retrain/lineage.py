"""Traces the lineage of an artifact in the history: its inputs, and theirs, back to the labels."""

import dataclasses
from collections.abc import Iterator

from ml_metadata.proto import metadata_store_pb2 as proto

from features.errors import MalTfError
from pipelines.retrain import history_records
from pipelines.retrain.history import History
from pipelines.retrain.history_records import Artifact, Run, Stage

#: Kinds that hold a model's weights.
_WEIGHTS = ("served", "export", "model")


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """An artifact and its inputs. An input of two stages is one shared object.

    Attributes:
        artifact: the artifact.
        stage: the stage that first made it; None if no recorded stage did.
        run: the stage's run.
        inputs: the stage's inputs.
    """

    artifact: Artifact
    stage: Stage | None
    run: Run | None
    inputs: tuple["Node", ...]


def lineage(history: History, uri: str) -> Node:
    """Return the artifact last written at `uri`, with all its ancestors.

    Raises:
        MalTfError: no recorded stage made or read an artifact there.
    """
    start = history.last_made(uri)
    if start is None:
        raise MalTfError(f"{uri}: expected an artifact of a recorded stage, found no record of it")
    makers, inputs = _ancestors(history, start.id)
    artifacts = {
        record.id: history_records.artifact(record) for record in history.store.get_artifacts_by_id(list(makers))
    }
    stages = {record.id: history_records.stage(record) for record in history.store.get_executions_by_id(list(inputs))}
    runs = {run.id: run for run in history.runs()}
    nodes: dict[int, Node] = {}
    # The inputs of a stage were made by earlier stages, which have smaller ids.
    for key in sorted(makers, key=lambda key: makers[key] or 0):
        stage = stages.get(makers[key])
        parts = tuple(nodes[part] for part in inputs[stage.id]) if stage else ()
        nodes[key] = Node(artifacts[key], stage, runs[stage.run] if stage else None, parts)
    return nodes[start.id]


def generations(node: Node) -> Iterator[Node]:
    """Yield the chain of models that started from one another, newest first."""
    current: Node | None = node
    while current is not None:
        if current.artifact.kind == "model":
            yield current
        current = next((part for part in current.inputs if part.artifact.kind in _WEIGHTS), None)


def _ancestors(history: History, start: int) -> tuple[dict[int, int | None], dict[int, list[int]]]:
    """Return the stage that first made each artifact, and the inputs of each stage, all by id."""
    makers: dict[int, int | None] = {}
    inputs: dict[int, list[int]] = {}
    fresh = {start}
    while fresh:
        makers |= dict.fromkeys(fresh)
        for event in history.store.get_events_by_artifact_ids(sorted(fresh)):
            if event.type == proto.Event.OUTPUT:
                first = makers[event.artifact_id]
                makers[event.artifact_id] = min(first or event.execution_id, event.execution_id)
        stages = {stage for key in fresh if (stage := makers[key]) is not None} - inputs.keys()
        inputs |= {stage: [] for stage in sorted(stages)}
        for event in history.store.get_events_by_execution_ids(sorted(stages)) if stages else ():
            if event.type == proto.Event.INPUT:
                inputs[event.execution_id].append(event.artifact_id)
        fresh = {part for stage in stages for part in inputs[stage]} - makers.keys()
    return makers, inputs
