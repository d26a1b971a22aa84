"""A run from logs to evaluated exports; a finished stage runs again only if its inputs or its part of the config changed."""

import contextlib
import dataclasses
import functools
import json
import logging
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
from pipelines.core import files, manifest
from pipelines.core.stage_runner import StageRunner
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run as evaluation_job
from pipelines.explain import chosen_journeys
from pipelines.labels import run as labels
from pipelines.train import calibration, export, stages
from pipelines.train.credit_delay import Copies
from pipelines.train.inputs import trained_from
from pipelines.validate import gate, statistics

log = logging.getLogger("mal_tf.run")

#: Bytes of logs above which no journeys are drawn: to read the logs again would take minutes.
_LARGE_LOGS = 4 << 30


@dataclasses.dataclass(frozen=True)
class Run:
    """A run: each method brings one stage, and the stages that it needs, up to date.

    Attributes:
        config: the run's.
        directory: of its outputs; local (the label job alone may write elsewhere).
        flags: Beam's own flags.
        overwrite: run finished stages again although nothing changed.
        cluster: where models are trained. Processes that are not its chief wait for the chief's stages, take part in
            trainings, and write nothing.
        copies: what trains in place of the training split, if not that.
        _current: stages that this process has brought up to date.
    """

    config: RunConfig
    directory: str
    flags: Sequence[str] = ()
    overwrite: bool = False
    cluster: Cluster = ALONE
    copies: Copies | None = None
    _current: set[str] = dataclasses.field(default_factory=set)

    @functools.cached_property
    def stages(self) -> StageRunner:
        """Runs the stages in the run's directory."""
        return StageRunner(self.directory, self.overwrite, self.cluster.chief, self._current)

    def path(self, *parts: str) -> str:
        """A path in the run's directory."""
        return self.stages.path(*parts)

    @contextlib.contextmanager
    def opened(self) -> Iterator["Run"]:
        """Locks the run's directory for this process; see `StageRunner.opened`."""
        with self.stages.opened(self.config.name, dump(self.config)):
            yield self

    def labels(self) -> str:
        """The label job: its directory."""

        def job(output: str, backup: str) -> None:
            labels.run(self.config, output, self.flags, overwrite=True, backup=backup)

        return self.stages.run_job("labels", labels.made_from(self.config), job)

    def statistics(self) -> str:
        """TFDV's statistics of the splits: their directory."""
        source = self.labels()
        return self.stages.run(
            "statistics",
            [manifest.made_from(source)],
            lambda output: statistics.write(source, self.config.feature_spec, output, self.flags),
        )

    def validate(self) -> str:
        """The data gate: its directory."""
        source = self.statistics()
        schema = self.config.validation.schema_file
        text = files.read_text(schema) if schema and files.exists(schema) else schema
        return self.stages.run(
            "validate",
            [manifest.made_from(source), text],
            lambda output: gate.validate(source, output, self.config.feature_spec, schema),
        )

    def auxiliaries(self) -> dict | None:
        """The choice that `model.auxiliaries: auto` stands for (`mal_tf.training.auxiliaries`); None where it is not `auto`."""
        if self.config.model.auxiliaries != AUTO:
            return None
        source = self.labels()
        self.validate()
        architecture = self.config.model.model_dump(mode="json", exclude={"name", "compare_with"})
        made_from = [
            manifest.made_from(source),
            trained_from(self.config),
            architecture,
            self.config.attribution.names,
        ]
        directory = self.stages.run("auxiliaries", made_from, lambda _: stages.choose_auxiliaries(self.config, source))
        return manifest.read(directory)["result"]

    def resolved(self) -> RunConfig:
        """The config as models are made from it: with the chosen auxiliaries in the place of `auto`."""
        choice = self.auxiliaries()
        return self.config.resolved(choice["auxiliaries"]) if choice else self.config

    def train(self, name: str) -> str:
        """One model's training: its directory.

        What a training that is cut short goes on from lies in `checkpoints/<name>/<fingerprint>`, so that another
        config's is never taken up; with `overwrite` it begins anew.
        """
        source = self.labels()
        self.validate()
        config = self.resolved()
        architecture = config.model.alone(name).model_dump(mode="json", exclude={"name", "compare_with"})
        made_from = [manifest.made_from(source), trained_from(config), architecture, name, config.targets]
        if self.copies:
            made_from.append(repr(self.copies))
        stage, kept = f"train/{name}", pathlib.Path(self.path("checkpoints", name))
        if config.training.warm_start:
            earlier = warm_start.locate(config.training.warm_start, name)
            if pathlib.Path(earlier).resolve() == pathlib.Path(self.path(stage)).resolve():
                raise MalTfError(
                    f"training.warm_start is {earlier}, which this run would replace; choose another --output"
                )
            made_from.append(manifest.made_from(earlier))
        if self.overwrite and stage not in self._current:
            shutil.rmtree(kept, ignore_errors=True)

        unfinished = str(kept / manifest.fingerprint(*made_from)[:16])
        output = self.stages.run(
            stage,
            made_from,
            lambda output: stages.train(config, source, name, output, unfinished, self.cluster, self.copies),
            everywhere=True,
        )
        if self.cluster.chief:
            shutil.rmtree(kept, ignore_errors=True)
        return output

    def calibrate(self, name: str) -> str | None:
        """The map of one model's predictions: its directory; None where the config asks for none."""
        if self.config.calibration is None:
            return None
        weights, source = self.train(name), self.labels()
        made_from = [manifest.made_from(weights), self.config.calibration.model_dump(mode="json")]
        return self.stages.run(
            f"{calibration.CALIBRATE}/{name}",
            made_from,
            lambda output: calibration.calibrate(self.resolved(), source, name, weights, output),
        )

    def export(self, name: str) -> str:
        """One model's export: its SavedModel's directory."""
        weights, source, calibrated = self.train(name), self.labels(), self.calibrate(name)
        made_from = [manifest.made_from(weights), self.config.export.model_dump(mode="json")]
        made_from += [manifest.made_from(calibrated)] if calibrated else []
        output = self.path("export", name)
        if files.exists(f"{output}/{manifest.MANIFEST}") and not files.exists(f"{self._version(name)}/saved_model.pb"):
            manifest.begin(output, overwrite=True)  # Somebody removed the version: it is to be made again.
        self.stages.run(
            f"export/{name}",
            made_from,
            lambda _: export.export_model(
                self.resolved(), source, name, weights, self.path("serving", name), calibrated
            ),
        )
        return self._version(name)

    def _version(self, name: str) -> str:
        number = manifest.read(self.path("export", name))["result"]["version"]
        return self.path("serving", name, str(number))

    def evaluate(self) -> dict:
        """Evaluation of all models: the metrics."""
        return json.loads(files.read_text(f"{self.evaluation()}/{evaluate.METRICS}"))

    def evaluation(self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None) -> str:
        """An evaluation: its directory, which is `evaluate` where nothing is given, else one of `evaluations`.

        Args:
            split: `train` or `eval`.
            labels: directory of the label job whose clicks are evaluated; the run's where empty.
            versions: SavedModels by name; the run's where none are given.
        """
        given = dict(versions or {})
        models, source, trained = self._evaluated(labels, given)
        parts = self.config.evaluation.model_dump(mode="json")
        if given:
            made_from: list[Any] = [
                [name, path, files.listing(path), files.modified(f"{path}/saved_model.pb")]
                for name, path in models.items()
            ]
        else:
            made_from = [manifest.read(self.path("export", name)) for name in models]
        made_from += [parts, self.config.seed, self.config.model.primary, self.config.model.name]
        made_from += evaluate.computed_by()
        name = "evaluate"
        if given or labels or split != "eval":
            made_from += [split, manifest.made_from(source), manifest.made_from(trained), self.config.attribution.names]
            name = f"evaluations/{split}-{manifest.fingerprint(*made_from)[:8]}"
        return self.stages.run(
            name, made_from, lambda output: evaluate.run(self.config, source, models, output, split, trained)
        )

    def distributed_evaluation(
        self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None
    ) -> str:
        """As `evaluation`, but by the Beam job: its directory, always one of `evaluations`."""
        models, source, trained = self._evaluated(labels, dict(versions or {}))
        evaluation = evaluation_job.Evaluation(self.config, source, models, split, trained)
        name = f"evaluations/distributed-{split}-{evaluation.made_from[:8]}"

        def job(output: str, backup: str) -> None:
            metrics = evaluation_job.run(evaluation, output, self.flags, overwrite=True, backup=backup)
            if metrics:
                evaluate.write_events(metrics["labels"], f"{output}/{evaluate.EVENTS}")

        return self.stages.run_job(name, evaluation.made_from, job)

    def _evaluated(self, labels: str, versions: dict[str, str]) -> tuple[dict[str, str], str, str]:
        """SavedModels by name, and the directories of the label jobs whose clicks are evaluated and were trained on."""
        if labels:
            labelled.read_manifest(labels)  # Before anything is made.
        models = versions or {name: self.export(name) for name in self.config.model.names}
        source = labels or self.labels()
        return models, source, source if versions else self.labels()

    def journeys(self) -> str | None:
        """Some journeys for the report, with each mechanism's credit: their directory.

        None where there is none to be had: labels without journeys, or logs too large to be read again for a few pictures.
        """
        if self.config.ready_made:
            return None
        tables = self.config.sources.tables()
        read = sum(size for table in (tables.clicks, tables.conversions) for _, size in files.match(table.files))
        if read > _LARGE_LOGS:
            log.info("journeys: skipped, as the logs are %s bytes; `mal-tf explain` shows one click's", f"{read:,}")
            return None
        source, versions = self.labels(), {name: self.export(name) for name in self.config.model.names}
        exported = [manifest.made_from(self.path("export", name)) for name in versions]
        return self.stages.run(
            "journeys",
            [manifest.made_from(source), exported],
            lambda output: chosen_journeys.write(self.config, source, versions, output),
        )

    def exported(self) -> dict[str, str]:
        """SavedModels of the models that were exported, by name; nothing is made."""
        names = [name for name in self.config.model.names if files.exists(self.path("export", name, manifest.MANIFEST))]
        return {name: self._version(name) for name in names}
