"""A run from logs to evaluated exports, in stages that are repeated only if their inputs or their config changed.

Each method imports what it needs, so that no stage waits for TensorFlow that does without it.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from features.errors import MalTfError
from mal_tf.models.config import AUTO
from pipelines.config.run import RunConfig, dump
from pipelines.core import beam_runner, cache, files, manifest
from pipelines.core.mirror import Mirror
from pipelines.core.stage_runner import StageRunner
from pipelines.labels import run as labels
from pipelines.labels.sources.tables import data_files

if TYPE_CHECKING:
    from mal_tf.training.cluster import Cluster
    from pipelines.train.credit_delay import Copies

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
            trainings, and write nothing. None if this process is alone.
        copies: training clicks that replace the training split, if given.
        mirror: the directory on an object store whose local copy `directory` is, if any.
        _current: names of the stages that this process has brought up to date.
    """

    config: RunConfig
    directory: str
    flags: Sequence[str] = ()
    overwrite: bool = False
    cluster: "Cluster | None" = None
    copies: "Copies | None" = None
    mirror: Mirror | None = None
    _current: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def at(
        cls,
        config: RunConfig,
        output: str,
        flags: Sequence[str] = (),
        overwrite: bool = False,
        cluster: "Cluster | None" = None,
    ) -> "Run":
        """Return the run in a directory, which may be on an object store; arguments as the attributes."""
        mirror = None if files.is_local(output) else Mirror.of(output)
        return cls(config, mirror.local if mirror else output, flags, overwrite, cluster, mirror=mirror)

    @classmethod
    def to_read(cls, config: RunConfig, output: str) -> "Run":
        """Return the run in a directory, of which only `finished_labels` and `exported` are used."""
        mirror = None if files.is_local(output) else Mirror.to_read(output)
        return cls(config, mirror.local if mirror else output, mirror=mirror)

    @property
    def chief(self) -> bool:
        """Whether this process writes files and does everything other than training."""
        return self.cluster is None or self.cluster.chief

    @functools.cached_property
    def stages(self) -> StageRunner:
        """The runner of the stages in the run's directory."""
        return StageRunner(self.directory, self.overwrite, self.chief, self._current, self.mirror)

    @property
    def workers(self) -> bool:
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
        from pipelines.validate import statistics

        source = self.labels()
        return self.stages.run(
            "statistics",
            [manifest.made_from(source)],
            lambda output: statistics.write(
                source if self.workers else cache.directory(source), self.config.feature_spec, output, self.flags
            ),
            there=self.workers,
        )

    def validate(self) -> str:
        """Check the data against the schema and return the stage's directory."""
        from pipelines.validate import gate

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
        from pipelines.train import stages
        from pipelines.train.inputs import training_inputs

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
        from mal_tf.training import warm_start
        from mal_tf.training.cluster import ALONE
        from pipelines.train import stages
        from pipelines.train.inputs import training_inputs

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
                config, cache.directory(source), name, output, unfinished, self.cluster or ALONE, self.copies
            ),
            everywhere=True,
        )
        if self.chief:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return output

    def calibrate(self, name: str) -> str | None:
        """Fit the calibration map of one model and return its directory; None if the config has no `calibration`."""
        if self.config.calibration is None:
            return None
        from pipelines.train import calibration

        weights, source = self.train(name), self.labels()
        made_from = [manifest.made_from(weights), self.config.calibration.model_dump(mode="json")]
        return self.stages.run(
            f"{calibration.CALIBRATE}/{name}",
            made_from,
            lambda output: calibration.calibrate(self.resolved(), cache.directory(source), name, weights, output),
        )

    def export(self, name: str) -> str:
        """Export one model and return its SavedModel's directory."""
        from pipelines.train import export

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
        from pipelines.evaluate import evaluate

        return json.loads(files.read_text(f"{self.evaluation()}/{evaluate.METRICS}"))

    def evaluation(self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None) -> str:
        """Evaluate exported models and return the directory: `evaluate` by default, else one in `evaluations`.

        Args:
            split: `train` or `eval`.
            labels: directory of the label job whose clicks are evaluated. By default the run's own.
            versions: directory of the SavedModel by model name. By default the run's own exports.
        """
        from pipelines.run import evaluations

        return evaluations.evaluation(self, split, labels, dict(versions or {}))

    def distributed_evaluation(
        self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None
    ) -> str:
        """Evaluate with the Beam job, arguments as in `evaluation`, and return the directory, always one in `evaluations`."""
        from pipelines.run import evaluations

        return evaluations.distributed_evaluation(self, split, labels, dict(versions or {}))

    def journeys(self) -> str | None:
        """Choose some journeys for the report, with each mechanism's credit, and return their directory.

        Return None if the labels came without journeys, or if the logs are too large to be read again for a few figures.
        """
        if self.config.ready_made:
            return None
        tables = self.config.sources.tables()
        log_bytes = sum(
            size for table in tables.by_table.values() for size in (file.size for file in data_files(table))
        )
        if log_bytes > _MAX_LOG_BYTES:
            log.info(
                "journeys: skipped, as the logs have %s bytes; `mal-tf explain` shows the journey of a single click",
                f"{log_bytes:,}",
            )
            return None
        from pipelines.explain import chosen_journeys

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
