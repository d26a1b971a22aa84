"""Records the history of retraining in ML Metadata: runs as contexts, stages as executions, inputs and outputs as artifacts."""

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

#: Outcomes of a run that `History.run` records; `OpenRun.end` takes others.
RUNNING, FINISHED, FAILED, ABANDONED = "running", "finished", "failed", "abandoned"

_RUN, _STAGE = f"{PREFIX}run", f"{PREFIX}stage"
_KILLED = "abandoned: the process was killed or the machine stopped"
#: Contexts are given by id, and an artifact whose external id is already recorded is updated.
_REUSE = {"force_reuse_context": True, "reuse_artifact_if_already_exist_by_external_id": True}


def open_history(config: MetadataConfig, root: str, create: bool = True) -> "History":
    """Open the history of a schedule; see `pipelines.retrain.metadata.connect`."""
    return History(connect(config, root, create))


class History:
    """The history of a schedule's runs. Any number of processes may read it; the schedule's lock admits one writer at a time.

    Attributes:
        store: ML Metadata's store.
    """

    def __init__(self, store: Store):
        self.store = store

    @contextlib.contextmanager
    def run(self, span: str, config: str, revision: str) -> Iterator["OpenRun"]:
        """Record a run while the block runs: as `running`, then with the outcome given to `OpenRun.end`, or `finished`.

        If the block raises, the run is recorded as `failed` with the error, which is raised again. The caller holds the
        schedule's lock, so other runs and stages that are recorded as running were killed; they are marked as abandoned.

        Args:
            span: the span's day.
            config: fingerprint of the config.
            revision: git revision of the code.
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
            _record_or_warn(lambda: self._put(context, outcome, reasons))
            raise
        self._put(context, opened.outcome or FINISHED, opened.reasons)

    def runs(self) -> list[Run]:
        """Return all runs, the oldest first."""
        return sorted(map(history_records.run, self.store.get_contexts_by_type(_RUN)), key=lambda run: run.id)

    def stages(self, run: Run) -> list[Stage]:
        """Return a run's stages, in order."""
        return sorted(
            map(history_records.stage, self.store.get_executions_by_context(run.id)), key=lambda stage: stage.id
        )

    def outputs(self, stage: Stage) -> list[Artifact]:
        """Return the outputs of a stage, those that it found up to date included."""
        events = self.store.get_events_by_execution_ids([stage.id])
        ids = [event.artifact_id for event in events if event.type == proto.Event.OUTPUT]
        return sorted(
            map(history_records.artifact, self.store.get_artifacts_by_id(ids)), key=lambda artifact: artifact.id
        )

    def last_made(self, uri: str) -> Artifact | None:
        """Return the last artifact that a stage made at a URI, or read there as external; None if there is none."""
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
        """Ids of mal-tf's types in the store, which are created if they do not exist."""
        ids = {PREFIX + kind: self.store.put_artifact_type(proto.ArtifactType(name=PREFIX + kind)) for kind in KINDS}
        ids[_RUN] = self.store.put_context_type(proto.ContextType(name=_RUN))
        ids[_STAGE] = self.store.put_execution_type(proto.ExecutionType(name=_STAGE))
        return ids

    def _put(self, context: proto.Context, outcome: str, reasons: Sequence[str]) -> int:
        history_records.put(context, {"outcome": outcome, "reasons": json.dumps(list(reasons), ensure_ascii=False)})
        return self.store.put_contexts([context])[0]

    def _abandon(self) -> None:
        running = [
            e for e in self.store.get_executions_by_type(_STAGE) if e.last_known_state == proto.Execution.RUNNING
        ]
        for execution in running:
            execution.last_known_state = proto.Execution.CANCELED
            history_records.put(execution, {"reason": _KILLED})
        if running:
            self.store.put_executions(running)
        for context in self.store.get_contexts_by_type(_RUN):
            run = history_records.run(context)
            if run.outcome == RUNNING:
                stages = [stage.name for stage in map(history_records.stage, running) if stage.run == run.id]
                self._put(context, ABANDONED, [f"{name}: {_KILLED}" for name in stages] or [_KILLED])


class OpenRun:
    """A run in progress, created by `History.run`.

    Attributes:
        outcome: the outcome given to `end`; None until then.
        reasons: reasons for the outcome.
    """

    def __init__(self, history: History, context: proto.Context):
        self._history, self._context = history, context
        self.outcome: str | None = None
        self.reasons: Sequence[str] = ()

    def end(self, outcome: str, reasons: Sequence[str] = ()) -> None:
        """Set the outcome of the run, such as `pushed`. It is recorded when the block of `History.run` ends, also by an error."""
        self.outcome, self.reasons = outcome, reasons

    @contextlib.contextmanager
    def stage(self, name: str, inputs: Iterable[str] = ()) -> Iterator["OpenStage"]:
        """Record a stage while the block runs: as RUNNING, then as COMPLETE with its outputs.

        The stage is CACHED if all outputs were recorded before, and FAILED if the block raises; the error is raised again.

        Args:
            name: name of the stage, such as `train/mal`, unique in the run.
            inputs: URIs that the stage reads. Each stands for the artifact that was last made there, or for an `external`
                one if none was.
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
            recorded = []
            for kind, artifact in opened.outputs:
                artifact.type_id = types[PREFIX + kind]
                recorded.append((artifact, proto.Event(type=proto.Event.OUTPUT)))
            cached = recorded and all(self._is_recorded(artifact) for artifact, _ in recorded)
            execution.last_known_state = proto.Execution.CACHED if cached else proto.Execution.COMPLETE
            store.put_execution(execution, recorded, [self._context], **_REUSE)
        except BaseException as error:
            execution.last_known_state = proto.Execution.FAILED
            history_records.put(execution, {"reason": _message(error)})
            _record_or_warn(lambda: store.put_executions([execution]))
            raise

    def _is_recorded(self, artifact: proto.Artifact) -> bool:
        artifacts = self._history.store.get_artifacts_by_uri(artifact.uri)
        return any(other.external_id == artifact.external_id for other in artifacts)

    def _input(self, uri: str) -> tuple[proto.Artifact | None, proto.Event]:
        if last := self._history.last_made(uri):
            return None, proto.Event(type=proto.Event.INPUT, artifact_id=last.id)
        kind = "external"
        artifact = proto.Artifact(type_id=self._history.types[PREFIX + kind], uri=uri, external_id=_key(kind, uri, ""))
        return artifact, proto.Event(type=proto.Event.INPUT)


class OpenStage:
    """A stage in progress, created by `OpenRun.stage`.

    Attributes:
        outputs: kind and artifact of each output.
    """

    def __init__(self):
        self.outputs: list[tuple[str, proto.Artifact]] = []

    def output(self, kind: str, uri: str, fingerprint: str = "", **properties: Value) -> None:
        """Add an output that the stage made or found up to date. Outputs are recorded together when the stage is complete.

        Args:
            kind: one of `pipelines.retrain.history_records.KINDS`.
            uri: path or URI of the output.
            fingerprint: fingerprint of its content or of its inputs. Outputs of the same kind, URI and fingerprint are the
                same artifact, so that a resumed run adds none.
            properties: further properties. `mal-tf history --serving` shows `days` of a model, the days that it was trained
                on, and `fitted_by` of labels, the directory of the label job that fitted the attribution.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {kind}")
        artifact = proto.Artifact(uri=absolute(uri), state=proto.Artifact.LIVE)
        artifact.external_id = _key(kind, artifact.uri, fingerprint)
        history_records.put(artifact, {"fingerprint": fingerprint, **properties})
        self.outputs.append((kind, artifact))


def absolute(uri: str) -> str:
    """Return a URI as it is recorded: local paths are made absolute."""
    return os.path.abspath(uri) if files.is_local(uri) else uri


def _key(kind: str, uri: str, fingerprint: str) -> str:
    return manifest.fingerprint(kind, uri, fingerprint)


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, MalTfError) else f"{type(error).__name__}: {error}"


def _record_or_warn(record: Callable[[], object]) -> None:
    """Record something while another error is handled. A failure is only logged, so that it does not hide that error."""
    try:
        record()
    except MalTfError as error:
        log.warning("%s", error)
