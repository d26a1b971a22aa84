"""A run from logs to evaluated exports, in stages that are repeated only if their inputs or their config changed."""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from features.errors import MalTfError
from mal_tf.models.config import AUTO
from mal_tf.training import warm_start
from mal_tf.training.cluster import ALONE, Cluster
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig, dump
from pipelines.core import beam_runner, cache, files, manifest
from pipelines.core.mirror import Mirror
from pipelines.core.stage_runner import StageRunner
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run as evaluation_job
from pipelines.explain import chosen_journeys
from pipelines.labels import run as labels
from pipelines.train import calibration, export, stages
from pipelines.train.credit_delay import Copies
from pipelines.train.inputs import training_inputs
from pipelines.validate import gate, statistics

log = logging.getLogger("mal_tf.run")

#: Size of the logs, in bytes, above which no journeys are drawn, as reading the logs again would take minutes.
_MAX_LOG_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True)
class Run:
    """A run. Each method brings one stage, and the stages that it depends on, up to date.

    Attributes:
        config: the run's config.
        directory: local directory of the outputs; see `at` for others.
        flags: Beam's own flags.
        overwrite: whether to run finished stages again even if nothing changed.
        cluster: the processes that train models. Those other than the chief wait for the chief's stages, take part in
            trainings, and write nothing.
        copies: training clicks that replace the training split, if given.
        mirror: the directory on an object store whose local copy `directory` is, if any.
        _current: names of the stages that this process has brought up to date.
    """

    config: RunConfig
    directory: str
    flags: Sequence[str] = ()
    overwrite: bool = False
    cluster: Cluster = ALONE
    copies: Copies | None = None
    mirror: Mirror | None = None
    _current: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def at(
        cls,
        config: RunConfig,
        output: str,
        flags: Sequence[str] = (),
        overwrite: bool = False,
        cluster: Cluster = ALONE,
    ) -> "Run":
        """Return the run in a directory, which may be on an object store; arguments as the attributes."""
        mirror = None if files.is_local(output) else Mirror.of(output)
        return cls(config, mirror.local if mirror else output, flags, overwrite, cluster, mirror=mirror)

    @classmethod
    def to_read(cls, config: RunConfig, output: str) -> "Run":
        """Return the run in a directory, of which only `finished_labels` and `exported` are used."""
        mirror = None if files.is_local(output) else Mirror.to_read(output)
        return cls(config, mirror.local if mirror else output, mirror=mirror)

    @functools.cached_property
    def stages(self) -> StageRunner:
        """The runner of the stages in the run's directory."""
        return StageRunner(self.directory, self.overwrite, self.cluster.chief, self._current, self.mirror)

    @property
    def _workers(self) -> bool:
        """Whether Beam jobs run on other machines, and therefore read and write the object store itself."""
        return self.mirror is not None and not beam_runner.is_local(beam_runner.pipeline_options(self.flags))

    def path(self, *parts: str) -> str:
        """Return a path in the run's directory."""
        return self.stages.path(*parts)

    def files_of(self, stage: str) -> str:
        """Return where the files of a finished stage lie, for messages, from its directory."""
        return manifest.place(self.stages.shown(stage))

    @contextlib.contextmanager
    def opened(self) -> Iterator["Run"]:
        """Lock the run's directory for this process; see `StageRunner.opened`."""
        with self.stages.opened(self.config.name, dump(self.config)):
            yield self

    def labels(self) -> str:
        """Run the label job and return its directory, on the object store if the run is there."""

        def job(output: str, backup: str) -> None:
            labels.run(self.config, output, self.flags, overwrite=True, backup=backup)

        return self.stages.run_job("labels", labels.made_from(self.config), job, here=[labels.REPORT])

    def statistics(self) -> str:
        """Compute TFDV's statistics of the splits and return their directory."""
        source = self.labels()
        return self.stages.run(
            "statistics",
            [manifest.made_from(source)],
            lambda output: statistics.write(
                source if self._workers else cache.directory(source), self.config.feature_spec, output, self.flags
            ),
            there=self._workers,
        )

    def validate(self) -> str:
        """Check the data against the schema and return the stage's directory."""
        source = self.statistics()
        schema = self.config.validation.schema_file
        text = files.read_text(schema) if schema and files.exists(schema) else schema
        return self.stages.run(
            "validate",
            [manifest.made_from(source), text],
            lambda output: gate.validate(source, output, self.config.feature_spec, schema),
        )

    def auxiliaries(self) -> dict | None:
        """Return the choice of auxiliary targets if `model.auxiliaries` is `auto` (`mal_tf.training.auxiliaries`), else None."""
        if self.config.model.auxiliaries != AUTO:
            return None
        source = self.labels()
        self.validate()
        architecture = self.config.model.model_dump(mode="json", exclude={"name", "compare_with"})
        made_from = [
            manifest.made_from(source),
            training_inputs(self.config),
            architecture,
            self.config.attribution.names,
        ]
        directory = self.stages.run(
            "auxiliaries", made_from, lambda _: stages.choose_auxiliaries(self.config, cache.directory(source))
        )
        return manifest.read(directory)["result"]

    def resolved(self) -> RunConfig:
        """Return the config with the chosen auxiliaries in place of `auto`."""
        choice = self.auxiliaries()
        return self.config.with_auxiliaries(choice["auxiliaries"]) if choice else self.config

    def train(self, name: str) -> str:
        """Train one model and return the training's directory.

        An interrupted training resumes from `checkpoints/<name>/<fingerprint>`, so that a checkpoint of another config is
        never used. With `overwrite` it starts from the beginning.
        """
        source = self.labels()
        self.validate()
        config = self.resolved()
        architecture = config.model.alone(name).model_dump(mode="json", exclude={"name", "compare_with"})
        made_from = [manifest.made_from(source), training_inputs(config), architecture, name, config.targets]
        if self.copies:
            made_from.append(repr(self.copies))
        stage, checkpoints = f"train/{name}", pathlib.Path(self.path("checkpoints", name))
        if config.training.warm_start:
            earlier = warm_start.locate(config.training.warm_start, name)
            if pathlib.Path(earlier).resolve() == pathlib.Path(self.path(stage)).resolve():
                raise MalTfError(
                    f"training.warm_start is {earlier}, which this run would replace; choose another --output"
                )
            made_from.append(manifest.made_from(earlier))
        if self.overwrite and stage not in self._current:
            shutil.rmtree(checkpoints, ignore_errors=True)

        unfinished = str(checkpoints / manifest.fingerprint(*made_from)[:16])
        output = self.stages.run(
            stage,
            made_from,
            lambda output: stages.train(
                config, cache.directory(source), name, output, unfinished, self.cluster, self.copies
            ),
            everywhere=True,
        )
        if self.cluster.chief:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return output

    def calibrate(self, name: str) -> str | None:
        """Fit the calibration map of one model and return its directory; None if the config has no `calibration`."""
        if self.config.calibration is None:
            return None
        weights, source = self.train(name), self.labels()
        made_from = [manifest.made_from(weights), self.config.calibration.model_dump(mode="json")]
        return self.stages.run(
            f"{calibration.CALIBRATE}/{name}",
            made_from,
            lambda output: calibration.calibrate(self.resolved(), cache.directory(source), name, weights, output),
        )

    def export(self, name: str) -> str:
        """Export one model and return its SavedModel's directory."""
        weights, source, calibrated = self.train(name), self.labels(), self.calibrate(name)
        made_from = [manifest.made_from(weights), self.config.export.model_dump(mode="json")]
        made_from += [manifest.made_from(calibrated)] if calibrated else []
        output = self.path("export", name)
        if files.exists(f"{output}/{manifest.MANIFEST}") and not files.exists(f"{self._version(name)}/saved_model.pb"):
            manifest.begin(output, overwrite=True)  # The SavedModel was removed: export again.

        def write(directory: str) -> dict:
            versions, clicks = self.path("serving", name), cache.directory(source)
            if self.mirror:
                self.mirror.reserve_versions(f"serving/{name}")
            result = export.export_model(self.resolved(), clicks, name, weights, versions, calibrated)
            version = f"{versions}/{result['version']}"
            paths = [os.path.relpath(f"{version}/{path}", directory) for path in sorted(files.listing(version))]
            return result | {manifest.ELSEWHERE: manifest.describe(directory, paths)}

        self.stages.run(
            f"export/{name}",
            made_from,
            write,
        )
        return self._version(name)

    def _version(self, name: str) -> str:
        number = manifest.read(self.path("export", name))["result"]["version"]
        return self.path("serving", name, str(number))

    def evaluate(self) -> dict:
        """Evaluate all models and return what `metrics.json` holds."""
        return json.loads(files.read_text(f"{self.evaluation()}/{evaluate.METRICS}"))

    def evaluation(self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None) -> str:
        """Evaluate exported models and return the directory: `evaluate` by default, else one in `evaluations`.

        Args:
            split: `train` or `eval`.
            labels: directory of the label job whose clicks are evaluated. By default the run's own.
            versions: directory of the SavedModel by model name. By default the run's own exports.
        """
        versions = dict(versions or {})
        models, source, trained = self._evaluated(labels, versions)
        parts = self.config.evaluation.model_dump(mode="json")
        if versions:
            made_from: list[Any] = [
                [name, path, files.listing(path), files.modified(f"{path}/saved_model.pb")]
                for name, path in models.items()
            ]
        else:
            made_from = [manifest.read(self.path("export", name)) for name in models]
        made_from += [parts, self.config.seed, self.config.model.primary, self.config.model.name]
        made_from += evaluate.computed_by()
        name = "evaluate"
        if versions or labels or split != "eval":
            made_from += [split, manifest.made_from(source), manifest.made_from(trained), self.config.attribution.names]
            name = f"evaluations/{split}-{manifest.fingerprint(*made_from)[:8]}"

        def stage(output: str) -> Any:
            self._check_exports(versions)
            clicks, trained_on = cache.directory(source), cache.directory(trained)
            here = {model: cache.directory(path) for model, path in models.items()}
            return evaluate.run(self.config, clicks, here, output, split, trained_on)

        return self.stages.run(name, made_from, stage)

    def distributed_evaluation(
        self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None
    ) -> str:
        """Evaluate with the Beam job, arguments as in `evaluation`, and return the directory, always one in `evaluations`."""
        models, source, trained = self._evaluated(labels, dict(versions or {}))
        if self._workers:
            models = {model: self.stages.shown(path) for model, path in models.items()}
        evaluation = evaluation_job.Evaluation(self.config, source, models, split, trained)
        name = f"evaluations/distributed-{split}-{evaluation.made_from[:8]}"

        def job(output: str, backup: str) -> None:
            self._check_exports(versions or {})
            metrics = evaluation_job.run(evaluation, output, self.flags, overwrite=True, backup=backup)
            if metrics:
                events = self.path(name, evaluate.EVENTS)
                evaluate.write_events(metrics["labels"], events)
                if self.mirror:
                    cache.upload(events, files.listing(events), f"{output}/{evaluate.EVENTS}")

        self.stages.run_job(name, evaluation.made_from, job, here=[evaluate.METRICS])
        return self.path(name)

    def _check_exports(self, versions: Mapping[str, str]) -> None:
        """Check that the run's SavedModels are as they were exported, if no others are evaluated."""
        for name in () if versions else self.config.model.names:
            stage = self.path("export", name)
            for entry in manifest.elsewhere(manifest.read(stage)):
                manifest.check_file(stage, entry["path"])

    def _evaluated(self, labels: str, versions: dict[str, str]) -> tuple[dict[str, str], str, str]:
        """Return the SavedModels by name, the label job whose clicks are evaluated, and the one that was trained on."""
        if labels:
            labelled.read_manifest(labels)  # Fails before any work if the label job is not finished.
        models = versions or {name: self.export(name) for name in self.config.model.names}
        source = labels or self.labels()
        return models, source, source if versions else self.labels()

    def journeys(self) -> str | None:
        """Choose some journeys for the report, with each mechanism's credit, and return their directory.

        Return None if the labels came without journeys, or if the logs are too large to be read again for a few figures.
        """
        if self.config.ready_made:
            return None
        tables = self.config.sources.tables()
        log_bytes = sum(size for table in tables.by_table.values() for _, size in files.match(table.files))
        if log_bytes > _MAX_LOG_BYTES:
            log.info(
                "journeys: skipped, as the logs have %s bytes; `mal-tf explain` shows the journey of a single click",
                f"{log_bytes:,}",
            )
            return None
        source, versions = self.labels(), {name: self.export(name) for name in self.config.model.names}
        exported = [manifest.made_from(self.path("export", name)) for name in versions]
        return self.stages.run(
            "journeys",
            [manifest.made_from(source), exported],
            lambda output: chosen_journeys.write(self.config, cache.directory(source), versions, output),
        )

    def finished_labels(self) -> str:
        """Return the directory of the finished labels, or a local copy of it; run nothing."""
        if self.mirror is None:
            return self.path("labels")
        manifest.read(directory := f"{self.mirror.remote}/labels", "a finished label job")
        return cache.directory(directory)

    def exported(self) -> dict[str, str]:
        """Return the directory of the SavedModel of each model that was exported, by name; run nothing."""
        if self.mirror:
            for name in self.config.model.names:
                self.mirror.receive(f"export/{name}")
        names = [name for name in self.config.model.names if files.exists(self.path("export", name, manifest.MANIFEST))]
        return {name: self._version(name) for name in names}
