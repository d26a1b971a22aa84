"""Runs, stages and artifacts of the retraining history, and their conversion from ML Metadata's records."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as proto

#: Kinds of artifacts. `external` ones were read by a stage but not made by a recorded one.
KINDS = ("labels", "statistics", "model", "export", "judgement", "blessing", "served", "external")

#: Prefix of the names of types in ML Metadata: `mal_tf.run`, `mal_tf.stage` and `mal_tf.<kind>`.
PREFIX = "mal_tf."

Value = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An output or input of a stage.

    Attributes:
        id: id in the store.
        kind: one of `KINDS`.
        uri: absolute path or URI where it is, or was.
        properties: fingerprint and further properties.
    """

    id: int
    kind: str
    uri: str
    properties: Mapping[str, Value]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        id: id in the store; later stages have larger ids.
        run: id of the stage's run.
        name: name of the stage, such as `train/mal`.
        state: ML Metadata's state: RUNNING, COMPLETE, CACHED (nothing new was made), FAILED, CANCELED (abandoned).
        reason: why the stage is FAILED or CANCELED.
        started: start of the stage, UTC.
        changed: last change of the record, UTC: the end of the stage, unless it is RUNNING or CANCELED.
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
        id: id in the store; later runs have larger ids, independently of the clock.
        span: the span's day.
        attempt: number of the attempt, from 1.
        config: fingerprint of the config.
        revision: git revision of the code.
        outcome: `running`, `finished`, `failed`, `abandoned`, or the outcome given to `OpenRun.end`.
        reasons: reasons for the outcome.
        started: start of the run, UTC.
        changed: last change of the record, UTC: the end of the run, unless it is `running` or `abandoned`.
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
    """Convert an artifact's record."""
    return Artifact(record.id, record.type.removeprefix(PREFIX), record.uri, _properties(record))


def stage(record: proto.Execution) -> Stage:
    """Convert a stage's record."""
    properties, state = _properties(record), proto.Execution.State.Name(record.last_known_state)
    return Stage(
        record.id, properties["run"], properties["stage"], state, properties.get("reason", ""), *_times(record)
    )


def run(record: proto.Context) -> Run:
    """Convert a run's record."""
    properties = _properties(record)
    started, changed = _times(record)
    fields = (properties[name] for name in ("span", "attempt", "config", "revision", "outcome"))
    span, attempt, config, revision, outcome = fields
    return Run(record.id, span, attempt, config, revision, outcome, json.loads(properties["reasons"]), started, changed)


def put(record: proto.Artifact | proto.Execution | proto.Context, properties: Mapping[str, Value]) -> None:
    """Set properties of a record, and keep its others.

    Raises:
        TypeError: a value is not a string, number or boolean.
    """
    for name, value in properties.items():
        kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
        field = next((field for kind, field in kinds.items() if isinstance(value, kind)), None)
        if field is None:
            raise TypeError(f"property {name}: expected a string, a number or a boolean, found {type(value).__name__}")
        setattr(record.custom_properties[name], field, value)


def _properties(record) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("value")) for name, value in record.custom_properties.items()}


def _times(record) -> tuple[datetime.datetime, datetime.datetime]:
    created, updated = (
        datetime.datetime.fromtimestamp(moment / 1000, datetime.timezone.utc)
        for moment in (record.create_time_since_epoch, record.last_update_time_since_epoch)
    )
    return created, updated
