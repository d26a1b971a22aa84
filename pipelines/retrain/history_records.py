"""Runs, stages and artifacts of the history, and how ML Metadata's records are read as such."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as proto

#: What stages make, and `external`: what they read that no recorded stage made.
KINDS = ("labels", "statistics", "model", "export", "judgement", "blessing", "served", "external")

#: ML Metadata's types are called `mal_tf.run`, `mal_tf.stage` and `mal_tf.<kind>`.
PREFIX = "mal_tf."

Value = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Something a stage made or read.

    Attributes:
        id: in the store.
        kind: one of `KINDS`.
        uri: where it is, or was.
        properties: what its stage said of it.
    """

    id: int
    kind: str
    uri: str
    properties: Mapping[str, Value]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        id: in the store; later stages have larger ones.
        run: id of its run.
        name: such as `train/mal`.
        state: ML Metadata's: RUNNING, COMPLETE, CACHED (it made nothing new), FAILED, CANCELED (abandoned).
        reason: why it is FAILED or CANCELED.
        started: when.
        changed: when the record last changed: the end, unless it is RUNNING or CANCELED.
    """

    id: int
    run: int
    name: str
    state: str
    reason: str
    started: datetime.datetime
    changed: datetime.datetime


@dataclasses.dataclass(frozen=True)
class Run:
    """One attempt at a span.

    Attributes:
        id: in the store; later runs have larger ones, whatever the clock says.
        span: day.
        attempt: counts from 1.
        config: fingerprint of the config.
        revision: of the code.
        outcome: `running`, `finished`, `failed`, `abandoned`, or what the runner said.
        reasons: for it.
        started: when.
        changed: when the record last changed: the end, unless it is `running` or `abandoned`.
    """

    id: int
    span: str
    attempt: int
    config: str
    revision: str
    outcome: str
    reasons: Sequence[str]
    started: datetime.datetime
    changed: datetime.datetime


def artifact(record: proto.Artifact) -> Artifact:
    """Reads an artifact's record."""
    return Artifact(record.id, record.type.removeprefix(PREFIX), record.uri, _properties(record))


def stage(record: proto.Execution) -> Stage:
    """Reads a stage's record."""
    said, state = _properties(record), proto.Execution.State.Name(record.last_known_state)
    return Stage(record.id, said["run"], said["stage"], state, said.get("reason", ""), *_times(record))


def run(record: proto.Context) -> Run:
    """Reads a run's record."""
    said = _properties(record)
    started, changed = _times(record)
    fields = (said[name] for name in ("span", "attempt", "config", "revision", "outcome"))
    span, attempt, config, revision, outcome = fields
    return Run(record.id, span, attempt, config, revision, outcome, json.loads(said["reasons"]), started, changed)


def put(record: proto.Artifact | proto.Execution | proto.Context, properties: Mapping[str, Value]) -> None:
    """Sets properties of a record; the others stay.

    Raises:
        TypeError: a value is no text, number or boolean.
    """
    for name, value in properties.items():
        kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
        field = next((field for kind, field in kinds.items() if isinstance(value, kind)), None)
        if field is None:
            raise TypeError(f"property {name}: expected text, a number or a boolean, found {type(value).__name__}")
        setattr(record.custom_properties[name], field, value)


def _properties(record) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("value")) for name, value in record.custom_properties.items()}


def _times(record) -> tuple[datetime.datetime, datetime.datetime]:
    created, updated = (
        datetime.datetime.fromtimestamp(moment / 1000, datetime.timezone.utc)
        for moment in (record.create_time_since_epoch, record.last_update_time_since_epoch)
    )
    return created, updated
