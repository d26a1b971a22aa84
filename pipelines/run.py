"""A whole run, resumable: a finished stage is not run again unless its inputs or its part of the config changed."""

import contextlib
import dataclasses
import itertools
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence

import yaml

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.models.config import AUTO
from mal_tf.training import warm_start
from mal_tf.training.cluster import ALONE, Cluster
from pipelines import calibration, files, labelled, manifest, stages
from pipelines.config import RunConfig, dump
from pipelines.evaluation import evaluate
from pipelines.evaluation_job import run as evaluation_job
from pipelines.explain import choose
from pipelines.labels import run as labels
from pipelines.provenance import CONFIG, FAILED, provenance
from pipelines.retraining.delay import Copies
from pipelines.validation import gate, statistics

log = logging.getLogger("mal_tf.run")

#: Where what a stage made before lies while it is made anew.
_PREVIOUS = ".previous"

#: Counts up when a stage's code changes what it makes of the same input.
_VERSION = 1

#: Bytes of logs above which no journeys are drawn: to read the logs again would take minutes.
_LARGE_LOGS = 4 << 30

#: Seconds that a process waits for a stage of the chief's.
_LONGEST_WAIT = 24 * 3600


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's directory and config; each method brings one stage, and what it needs, up to date.

    Attributes:
        config: the run.
        directory: of its outputs; local (the label job alone may write elsewhere).
        flags: Beam's own flags.
        overwrite: replace finished stages although nothing changed.
        cluster: where models are trained. Processes that are not its chief wait for the chief's stages, take their part in
            trainings, and write nothing.
        copies: what trains in the place of the training split, if not that.
        _fresh: stages brought up to date by this process.
    """

    config: RunConfig
    directory: str
    flags: Sequence[str] = ()
    overwrite: bool = False
    cluster: Cluster = ALONE
    copies: Copies | None = None
    _fresh: set[str] = dataclasses.field(default_factory=set)

    def path(self, *parts: str) -> str:
        """A place in the run's directory."""
        return "/".join((self.directory.rstrip("/"), *parts))

    def labels(self) -> str:
        """The label job: its directory."""
        output = self.path("labels")
        if self._needed("labels", output, labels.made_from(self.config)):
            with _timed("labels"):
                labels.run(self.config, output, self.flags, overwrite=True, aside=self.path(_PREVIOUS, "labels"))
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
            _trained_from(self.config),
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
        made_from = [manifest.made_from(source), _trained_from(config), architecture, name, config.targets]
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
            with _timed(name):
                aside = self.path(_PREVIOUS, name)
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
            lambda output: choose.write(self.config, source, versions, output),
        )

    def exported(self) -> dict[str, str]:
        """SavedModels of the models that were exported, by name; nothing is made."""
        names = [name for name in self.config.model.names if files.exists(self.path("export", name, manifest.MANIFEST))]
        return {name: self._version(name) for name in names}

    @contextlib.contextmanager
    def opened(self):
        """Holds the run's directory for this process and stores config, revision and versions in it.

        What ends with an error leaves it in `failed.txt`: finished stages may then be of an earlier config.

        Raises:
            MalTfError: the directory can't be written to, or holds a run of another name.
        """
        if not self.cluster.chief:
            yield self
            return
        with manifest.lock(self.directory):
            self._check_name()
            manifest.recover_all(self.directory, self.path(_PREVIOUS))
            files.write_text(self.path(CONFIG), dump(self.config))
            files.write_text(self.path("run.json"), json.dumps(provenance(), indent=1) + "\n")
            try:
                yield self
            except MalTfError as error:
                with contextlib.suppress(MalTfError, OSError):  # Such as a full disk.
                    files.write_text(self.path(FAILED), f"{error}\n")
                raise
            files.delete(self.path(FAILED))

    def _check_name(self) -> None:
        """Another run's export would be served in this one's place."""
        if not files.exists(path := self.path(CONFIG)):
            return
        try:
            there = yaml.safe_load(files.read_text(path))
        except yaml.YAMLError:  # To be written over.
            return
        name = there.get("name") if isinstance(there, dict) else None
        if name not in (None, self.config.name):
            raise MalTfError(
                f"{self.directory} holds run '{name}', and the config is of '{self.config.name}'; choose another --output, or "
                "remove it first"
            )

    def stage(self, name: str, made_from: Sequence, make: Callable[[str], dict]) -> str:
        """Brings a stage up to date: its directory.

        Args:
            name: of the stage, and of its directory in the run's.
            made_from: JSON-able, all that its result depends on.
            make: writes to the directory it is given; what it returns stands in the manifest as `result`.
        """
        output, key = self.path(name), manifest.fingerprint(name, _VERSION, *made_from)
        if self._needed(name, output, key):
            with _timed(name):
                if not self.cluster.chief:
                    make(output)
                    return output
                with manifest.replaced(output, self.path(_PREVIOUS, name)):
                    manifest.begin(output, overwrite=True)
                    result = make(output)
                    manifest.finish(
                        output, {"stage": name, "made_from": key, "result": result, "files": _listed(output)}
                    )
        return output

    def _needed(self, name: str, output: str, made_from: str) -> bool:
        """Whether a stage has to run; said and checked once per process. Who is not the chief has trainings to run alone."""
        if name in self._fresh:
            return False
        finished = not self.overwrite and manifest.is_finished(output, made_from)
        if not finished and not self.cluster.chief and not name.startswith("train/"):
            _wait(name, output, made_from)
            finished = True
        if finished:
            log.info("%s: finished already, nothing changed", name)
        self._fresh.add(name)
        return not finished


def _wait(name: str, output: str, made_from: str) -> None:
    """Returns when the chief has finished a stage. A chief that failed, or has another config, is not noticed otherwise."""
    for second in itertools.count():
        if manifest.is_finished(output, made_from):
            return
        if second >= _LONGEST_WAIT:
            raise MalTfError(
                f"{name}: expected the chief to finish {output} within {_LONGEST_WAIT:,} s; see the chief's log whether it "
                "failed, and start all processes with the same config and flags"
            )
        if second % 60 == 0:
            log.info("%s: waiting for the chief to finish %s", name, output)
        time.sleep(1)


def _listed(directory: str) -> list[dict]:
    """Files of a finished stage, but for the mark that `manifest.finish` takes away."""
    found = (path for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file())
    listed = [{"path": str(path.relative_to(directory)), "bytes": path.stat().st_size} for path in found]
    return [entry for entry in listed if entry["path"] != manifest.MARK]


def _trained_from(config: RunConfig) -> dict:
    """The part of the config that a training's result depends on, besides the model's own."""
    included, without = {"seed", "features", "vocabulary", "training"}, {"training": {"checkpoint", "corrupt_records"}}
    held_out = {"held_out": config.calibration.segments} if config.calibration else {}
    return config.model_dump(mode="json", include=included, exclude=without) | held_out


@contextlib.contextmanager
def _timed(name: str):
    log.info("%s: started", name)
    began = time.monotonic()
    try:
        yield
    except (OSError, tf.errors.OpError) as error:  # Such as a full disk under TensorFlow's own writers.
        raise MalTfError(f"{name}: {error}") from error
    log.info("%s: done in %.1f s", name, time.monotonic() - began)
