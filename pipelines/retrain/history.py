"""History of all retraining runs in ML Metadata: runs are contexts, stages executions, inputs and outputs artifacts."""

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from ml_metadata.proto import metadata_store_pb2 as proto

from features.errors import MalTfError
from pipelines.core import files, manifest
from pipelines.retrain import history_records
from pipelines.retrain.history_records import KINDS, PREFIX, Artifact, Run, Stage, Value
from pipelines.retrain.metadata import MetadataConfig, Store, connect

log = logging.getLogger("mal_tf.history")

#: Outcomes given here; others are the runner's.
RUNNING, FINISHED, FAILED, ABANDONED = "running", "finished", "failed", "abandoned"

_RUN, _STAGE = f"{PREFIX}run", f"{PREFIX}stage"
_KILLED = "abandoned: the process was killed or the machine stopped"
#: A context is given by its id; an artifact that is known by its external id is updated.
_REUSE = {"force_reuse_context": True, "reuse_artifact_if_already_exist_by_external_id": True}


def open_history(config: MetadataConfig, root: str, create: bool = True) -> "History":
    """The history of a schedule; see `pipelines.retrain.metadata.connect`."""
    return History(connect(config, root, create))


class History:
    """What every run did. One process writes at a time, which the schedule's lock sees to; any number read.

    Attributes:
        store: ML Metadata's.
    """

    def __init__(self, store: Store):
        self.store = store

    @contextlib.contextmanager
    def run(self, span: str, config: str, revision: str) -> Iterator["OpenRun"]:
        """Records a run: `running`, then as `OpenRun.end` says, `finished`, or `failed` with the error, which is raised on.

        Runs and stages that still count as running are marked as abandoned: whoever calls this holds the schedule's lock.

        Args:
            span: day.
            config: fingerprint of the config.
            revision: of the code.
        """
        self._abandon()
        attempt = 1 + sum(run.span == span for run in self.runs())
        context = proto.Context(type_id=self.types[_RUN], name=f"{span}#{attempt}")
        history_records.put(context, {"span": span, "attempt": attempt, "config": config, "revision": revision})
        context.id = self._put(context, RUNNING, ())
        opened = OpenRun(self, context)
        try:
            yield opened
        except BaseException as error:
            outcome, reasons = (opened.outcome, opened.reasons) if opened.outcome else (FAILED, [_message(error)])
            _try(lambda: self._put(context, outcome, reasons))
            raise
        self._put(context, opened.outcome or FINISHED, opened.reasons)

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        return sorted(map(history_records.run, self.store.get_contexts_by_type(_RUN)), key=lambda run: run.id)

    def stages(self, run: Run) -> list[Stage]:
        """A run's stages, in order."""
        return sorted(
            map(history_records.stage, self.store.get_executions_by_context(run.id)), key=lambda stage: stage.id
        )

    def outputs(self, stage: Stage) -> list[Artifact]:
        """What a stage made, or found made."""
        events = self.store.get_events_by_execution_ids([stage.id])
        ids = [event.artifact_id for event in events if event.type == proto.Event.OUTPUT]
        return sorted(
            map(history_records.artifact, self.store.get_artifacts_by_id(ids)), key=lambda artifact: artifact.id
        )

    def last_made(self, uri: str) -> Artifact | None:
        """What was last made, or read as external, at a place; None if nothing was."""
        artifacts = {artifact.id: artifact for artifact in self.store.get_artifacts_by_uri(absolute(uri))}
        if not artifacts:
            return None
        last = dict.fromkeys(artifacts, 0)
        for event in self.store.get_events_by_artifact_ids(list(artifacts)):
            if event.type == proto.Event.OUTPUT:
                last[event.artifact_id] = max(last[event.artifact_id], event.execution_id)
        return history_records.artifact(artifacts[max(last, key=lambda key: (last[key], key))])

    @functools.cached_property
    def types(self) -> dict[str, int]:
        """Ids of our types, which are made if they are not there."""
        ids = {PREFIX + kind: self.store.put_artifact_type(proto.ArtifactType(name=PREFIX + kind)) for kind in KINDS}
        ids[_RUN] = self.store.put_context_type(proto.ContextType(name=_RUN))
        ids[_STAGE] = self.store.put_execution_type(proto.ExecutionType(name=_STAGE))
        return ids

    def _put(self, context: proto.Context, outcome: str, reasons: Sequence[str]) -> int:
        history_records.put(context, {"outcome": outcome, "reasons": json.dumps(list(reasons), ensure_ascii=False)})
        return self.store.put_contexts([context])[0]

    def _abandon(self) -> None:
        left = [e for e in self.store.get_executions_by_type(_STAGE) if e.last_known_state == proto.Execution.RUNNING]
        for execution in left:
            execution.last_known_state = proto.Execution.CANCELED
            history_records.put(execution, {"reason": _KILLED})
        if left:
            self.store.put_executions(left)
        for context in self.store.get_contexts_by_type(_RUN):
            run = history_records.run(context)
            if run.outcome == RUNNING:
                stages = [stage.name for stage in map(history_records.stage, left) if stage.run == run.id]
                self._put(context, ABANDONED, [f"{name}: {_KILLED}" for name in stages] or [_KILLED])


class OpenRun:
    """A run under way; `History.run` makes it.

    Attributes:
        outcome: as `end` said; None until then.
        reasons: for it.
    """

    def __init__(self, history: History, context: proto.Context):
        self._history, self._context = history, context
        self.outcome: str | None = None
        self.reasons: Sequence[str] = ()

    def end(self, outcome: str, reasons: Sequence[str] = ()) -> None:
        """Says how the run ends, such as `pushed`; recorded when the run's `with` is left, by an error too."""
        self.outcome, self.reasons = outcome, reasons

    @contextlib.contextmanager
    def stage(self, name: str, inputs: Iterable[str] = ()) -> Iterator["OpenStage"]:
        """Records a stage: RUNNING, then COMPLETE with its outputs, CACHED if all of them were known, or FAILED with the
        error, which is raised on.

        Args:
            name: such as `train/mal`; differs from the run's other stages.
            inputs: uris of what it reads: what was last made there, `external` where nothing known was.
        """
        store, types = self._history.store, self._history.types
        execution = proto.Execution(type_id=types[_STAGE], name=f"{self._context.name}/{name}")
        execution.last_known_state = proto.Execution.RUNNING
        history_records.put(execution, {"stage": name, "run": self._context.id})
        read = [self._input(uri) for uri in dict.fromkeys(map(absolute, inputs))]
        execution.id, _, _ = store.put_execution(execution, read, [self._context], **_REUSE)
        opened = OpenStage()
        try:
            yield opened
            made = []
            for kind, artifact in opened.outputs:
                artifact.type_id = types[PREFIX + kind]
                made.append((artifact, proto.Event(type=proto.Event.OUTPUT)))
            cached = made and all(self._is_known(artifact) for artifact, _ in made)
            execution.last_known_state = proto.Execution.CACHED if cached else proto.Execution.COMPLETE
            store.put_execution(execution, made, [self._context], **_REUSE)
        except BaseException as error:
            execution.last_known_state = proto.Execution.FAILED
            history_records.put(execution, {"reason": _message(error)})
            _try(lambda: store.put_executions([execution]))
            raise

    def _is_known(self, artifact: proto.Artifact) -> bool:
        there = self._history.store.get_artifacts_by_uri(artifact.uri)
        return any(other.external_id == artifact.external_id for other in there)

    def _input(self, uri: str) -> tuple[proto.Artifact | None, proto.Event]:
        if last := self._history.last_made(uri):
            return None, proto.Event(type=proto.Event.INPUT, artifact_id=last.id)
        kind = "external"
        artifact = proto.Artifact(type_id=self._history.types[PREFIX + kind], uri=uri, external_id=_key(kind, uri, ""))
        return artifact, proto.Event(type=proto.Event.INPUT)


class OpenStage:
    """A stage under way; `OpenRun.stage` makes it.

    Attributes:
        outputs: (kind, artifact) that `output` said.
    """

    def __init__(self):
        self.outputs: list[tuple[str, proto.Artifact]] = []

    def output(self, kind: str, uri: str, fingerprint: str = "", **properties: Value) -> None:
        """Says what the stage made, or found made; recorded, all outputs at once, when the stage is complete.

        Args:
            kind: one of `pipelines.retrain.history_records.KINDS`.
            uri: where it is.
            fingerprint: of its content, or of what it was made from. Artifacts of the same kind, uri and fingerprint are
                one, so that a resumed run adds none.
            properties: anything else. `mal-tf history --serving` shows `days` (that it was trained on) of a model and
                `fitted_by` (directory of the label job that fitted the attribution) of labels.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {kind}")
        artifact = proto.Artifact(uri=absolute(uri), state=proto.Artifact.LIVE)
        artifact.external_id = _key(kind, artifact.uri, fingerprint)
        history_records.put(artifact, {"fingerprint": fingerprint, **properties})
        self.outputs.append((kind, artifact))


def absolute(uri: str) -> str:
    """`uri` as it is recorded: local paths from the root of the filesystem."""
    return os.path.abspath(uri) if files.is_local(uri) else uri


def _key(kind: str, uri: str, fingerprint: str) -> str:
    return manifest.fingerprint(kind, uri, fingerprint)


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, MalTfError) else f"{type(error).__name__}: {error}"


def _try(record: Callable[[], object]) -> None:
    """Records something while an error is on its way up, which is not to be hidden if that fails."""
    try:
        record()
    except MalTfError as error:
        log.warning("%s", error)
