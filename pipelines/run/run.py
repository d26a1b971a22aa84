"""A whole run, resumable: a finished stage is not run again unless its inputs or its part of the config changed."""

import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Mapping

from features.errors import MalTfError
from mal_tf.models.config import AUTO
from mal_tf.training import warm_start
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.evaluate import evaluate
from pipelines.evaluate.distributed import run as evaluation_job
from pipelines.explain import chosen_journeys
from pipelines.labels import run as labels
from pipelines.run.run_directory import PREVIOUS, RunDirectory, timed
from pipelines.train import calibration, stages
from pipelines.train.inputs import trained_from
from pipelines.validate import gate, statistics

log = logging.getLogger("mal_tf.run")

#: Bytes of logs above which no journeys are drawn: to read the logs again would take minutes.
_LARGE_LOGS = 4 << 30


@dataclasses.dataclass(frozen=True)
class Run(RunDirectory):
    """A run: each method brings one stage, and what it needs, up to date."""

    def labels(self) -> str:
        """The label job: its directory."""
        output = self.path("labels")
        if self._needed("labels", output, labels.made_from(self.config)):
            with timed("labels"):
                labels.run(self.config, output, self.flags, overwrite=True, aside=self.path(PREVIOUS, "labels"))
        return output

    def statistics(self) -> str:
        """TFDV's statistics of the splits: their directory."""
        source = self.labels()

        def make(output: str) -> dict:
            return statistics.write(labelled.load(source, self.config.feature_spec), output, self.flags)

        return self.stage("statistics", [manifest.made_from(source)], make)

    def validate(self) -> str:
        """The data gate: its directory."""
        source = self.statistics()
        schema = self.config.validation.schema_file
        text = files.read_text(schema) if schema and files.exists(schema) else schema
        return self.stage(
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

        def make(output: str) -> dict:
            stages.clear_session()
            data = calibration.to_train(self.config, labelled.load(source, self.config.feature_spec))
            return stages.choose_auxiliaries(self.config, data)

        made_from = [
            manifest.made_from(source),
            trained_from(self.config),
            architecture,
            self.config.attribution.names,
        ]
        return manifest.read(self.stage("auxiliaries", made_from, make))["result"]

    def resolved(self) -> RunConfig:
        """The config as models are made from it: with the chosen auxiliaries in the place of `auto`."""
        found = self.auxiliaries()
        return self.config.resolved(found["auxiliaries"]) if found else self.config

    def train(self, name: str) -> str:
        """One model's training: its directory.

        What a training that is cut short goes on from lies in `checkpoints/<name>/<fingerprint>`, so that another
        config's is never taken up; with `overwrite` it begins anew.
        """
        source = self.labels()
        self.validate()
        config = self.resolved()
        architecture = config.model.model_dump(mode="json", exclude={"name", "compare_with"})
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
        if self.overwrite and stage not in self._fresh:
            shutil.rmtree(kept, ignore_errors=True)

        def make(output: str) -> dict:
            stages.clear_session()
            data, immature = calibration.to_train(config, labelled.load(source, config.feature_spec)), None
            if self.copies:
                splits, immature = data.splits | {"train": self.copies.of(data.splits)}, self.copies.immature
                data = dataclasses.replace(data, splits=splits)
            place = kept / manifest.fingerprint(*made_from)[:16]
            return stages.train(config, data, name, output, str(place), self.cluster, immature)

        output = self.stage(stage, made_from, make)
        if self.cluster.chief:
            shutil.rmtree(kept, ignore_errors=True)
        return output

    def calibrate(self, name: str) -> str | None:
        """The map of one model's predictions: its directory; None where the config asks for none."""
        if self.config.calibration is None:
            return None
        weights, source = self.train(name), self.labels()

        def make(output: str) -> dict:
            data = labelled.load(source, self.config.feature_spec)
            return calibration.calibrate(self.resolved(), data, name, weights, output)

        made_from = [manifest.made_from(weights), self.config.calibration.model_dump(mode="json")]
        return self.stage(f"{calibration.CALIBRATE}/{name}", made_from, make)

    def export(self, name: str) -> str:
        """One model's export: its SavedModel's directory."""
        weights, source, calibrated = self.train(name), self.labels(), self.calibrate(name)

        def make(output: str) -> dict:
            data, found = labelled.load(source, self.config.feature_spec), calibrated and calibration.read(calibrated)
            return stages.export_model(self.resolved(), data, name, weights, self.path("serving", name), found)

        made_from = [manifest.made_from(weights), self.config.export.model_dump(mode="json")]
        made_from += [manifest.made_from(calibrated)] if calibrated else []
        output = self.path("export", name)
        if files.exists(f"{output}/{manifest.MANIFEST}") and not files.exists(f"{self._version(name)}/saved_model.pb"):
            manifest.begin(output, overwrite=True)  # Somebody removed the version: it is to be made again.
        self.stage(f"export/{name}", made_from, make)
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
        spec, given = self.config.feature_spec, dict(versions or {})
        models, source, trained = self._evaluated(labels, given)
        parts = self.config.evaluation.model_dump(mode="json")
        if given:
            made_from = [
                [name, path, files.listing(path), files.modified(f"{path}/saved_model.pb")]
                for name, path in models.items()
            ]
        else:
            made_from = [manifest.read(self.path("export", name)) for name in models]
        made_from += [parts, self.config.seed, self.config.model.primary, self.config.model.name]
        name = "evaluate"
        if given or labels or split != "eval":
            made_from += [split, manifest.made_from(source), manifest.made_from(trained), self.config.attribution.names]
            name = f"evaluations/{split}-{manifest.fingerprint(*made_from)[:8]}"

        def make(output: str) -> dict:
            found = evaluate.evaluate(
                self.config, labelled.load(source, spec), models, output, split, labelled.load(trained, spec)
            )
            return {key: found[key] for key in ("target", "split", "served", "models", "differences")}

        return self.stage(name, made_from, make)

    def distributed_evaluation(
        self, split: str = "eval", labels: str = "", versions: Mapping[str, str] | None = None
    ) -> str:
        """As `evaluation`, but by the Beam job: its directory, always one of `evaluations`."""
        models, source, trained = self._evaluated(labels, dict(versions or {}))
        evaluation = evaluation_job.Evaluation(self.config, source, models, split, trained)
        made_from = evaluation.made_from
        name = f"evaluations/distributed-{split}-{made_from[:8]}"
        if self._needed(name, self.path(name), made_from):
            with timed(name):
                aside = self.path(PREVIOUS, name)
                found = evaluation_job.run(evaluation, self.path(name), self.flags, overwrite=True, aside=aside)
                if found:
                    evaluate.write_events(found["labels"], self.path(name, evaluate.EVENTS))
        return self.path(name)

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
        return self.stage(
            "journeys",
            [manifest.made_from(source), exported],
            lambda output: chosen_journeys.write(self.config, source, versions, output),
        )

    def exported(self) -> dict[str, str]:
        """SavedModels of the models that were exported, by name; nothing is made."""
        names = [name for name in self.config.model.names if files.exists(self.path("export", name, manifest.MANIFEST))]
        return {name: self._version(name) for name in names}
