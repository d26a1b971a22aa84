"""The retraining of one span: label, check, train, judge, bless, push; what is finished is not repeated."""

import dataclasses
import datetime
import json
import logging
import pathlib
from collections.abc import Sequence

import pyarrow.parquet as pq

from features.errors import Interrupted, MalTfError
from pipelines import files, labelled, manifest, stages
from pipelines.config import RunConfig
from pipelines.labels.finish import REPORT
from pipelines.retraining import blessing, checks, infra, judge, serving, spans
from pipelines.retraining.config import RetrainConfig, context_days
from pipelines.run import Run
from pipelines.validation import statistics

#: Under the schedule's root: a run's directory per span, and the versions that are served.
SPANS, SERVING = "spans", "serving"

#: What the candidate and the model that serves are called in an evaluation.
CANDIDATE, BLESSED = "candidate", "blessed"

#: Spans whose label reports a span's is compared with.
_TRAILING = 7

log = logging.getLogger("mal_tf.retrain")


class Refused(MalTfError):
    """The span's data or its model is not good enough; what serves stays as it is."""

    exit_code = 3


@dataclasses.dataclass(frozen=True)
class Base:
    """The model that a candidate starts from and is judged against: the one that serves.

    Attributes:
        version: of it.
        run: directory of the span's run that made it.
        span: of that run.
        trained_until: last day it has been trained on.
    """

    version: serving.Version
    run: str
    span: datetime.date
    trained_until: datetime.date

    @classmethod
    def of(cls, version: serving.Version) -> "Base":
        """A version as a base.

        Raises:
            MalTfError: it was not pushed by retraining.
        """
        try:
            found = [version.lineage[key] for key in ("run", "span", "trained_until")]
        except KeyError as error:
            raise MalTfError(f"{version.path} was not pushed by `mal-tf retrain`; use another root") from error
        return cls(version, found[0], *map(datetime.date.fromisoformat, found[1:]))


@dataclasses.dataclass
class Retraining:
    """A span's retraining, stage by stage.

    Attributes:
        config: the schedule.
        run_config: of all spans' runs.
        span: newest day of the logs.
        first: whether there is to be no model to start from and to be judged against.
    """

    config: RetrainConfig
    run_config: RunConfig
    span: datetime.date
    first: bool = False

    def __post_init__(self):
        self.directory = f"{self.config.root}/{SPANS}/{self.span}"
        self.served = f"{self.config.root}/{SERVING}"
        self.base = self._base()
        left_out = self._refused_days() if self.config.after_refusal == "skip" else []
        self.plan = spans.plan(
            self.span,
            self.config.first_day,
            spans.window_hours(self.run_config),
            context_days(self.config, self.run_config),
            self.base and self.base.trained_until,
            [*left_out, *self.config.missing_days],
        )
        self.run = Run(self._configured(), self.directory)

    @property
    def name(self) -> str:
        """Of the model."""
        return self.run_config.model.name

    def label(self) -> str:
        """Labels the span's clicks: directory of the label job."""
        return self.run.labels()

    def check(self) -> str:
        """Validates the labelled clicks.

        Raises:
            Refused: anomalies, each with feature, measure, value and limit.
        """
        try:
            self.run.validate()
        except MalTfError as error:
            raise Refused(str(error)) from error
        labels, previous = self.run.labels(), self.base and f"{self.base.run}/statistics"

        def make(output: str) -> dict:
            found = checks.check(
                statistics.load(self.run.path("statistics")),
                statistics.load(previous) if previous else None,
                _report(labels),
                self._trailing_reports(),
                self.run.config,
                self.config.checks,
            )
            files.write_text(f"{output}/anomalies.json", json.dumps([dataclasses.asdict(a) for a in found]) + "\n")
            return {"anomalies": [str(anomaly) for anomaly in found]}

        made_from = [manifest.read(labels)["made_from"], self.config.checks.model_dump(mode="json")]
        output = self.run.stage("checks", made_from, make)
        if anomalies := manifest.read(output)["result"]["anomalies"]:
            raise Refused(f"{len(anomalies)} anomalies in the data:\n" + "\n".join(f"  {line}" for line in anomalies))
        return output

    def train(self) -> str:
        """Trains the candidate: directory of its weights."""
        return self.run.train(self.name)

    def export(self) -> str:
        """Exports the candidate: directory of its SavedModel."""
        return self.run.export(self.name)

    def judge(self) -> str:
        """Scores the day that judges with the candidate and with what serves: directory of the judgement."""
        versions = {CANDIDATE: self.export()} | ({BLESSED: self.base.version.path} if self.base else {})
        labels, config = self.run.labels(), self.run.config

        def make(output: str) -> dict:
            data = labelled.load(labels, config.feature_spec)
            frame = stages.score(config, data, versions, self.config.gates.features)
            found = judge.judge(frame, config.model.primary, self.config.gates, config.seed)
            files.write_text(f"{output}/judgement.json", json.dumps(dataclasses.asdict(found), indent=1) + "\n")
            return {"reasons": list(found.reasons), "metrics": found.metrics}

        exported = manifest.read(self.run.path("export", self.name))
        made_from = [exported, versions, self.config.gates.model_dump(mode="json"), config.seed]
        return self.run.stage("judge", made_from, make)

    def check_export(self) -> str:
        """Loads the export in a fresh process and measures it: directory of what was found."""
        version, labels, config = self.export(), self.run.labels(), self.run.config

        def make(output: str) -> dict:
            examples = stages.requests(config, labelled.load(labels, config.feature_spec), self.config.infra.rows)
            found = infra.check(version, examples, self.config.infra)
            return dataclasses.asdict(found)

        exported = manifest.read(self.run.path("export", self.name))
        return self.run.stage("infra", [exported, self.config.infra.model_dump(mode="json")], make)

    def bless(self) -> blessing.Blessing:
        """Blesses the candidate or not, by the judgement."""
        judged = manifest.read(self.judge())["result"]

        def make(output: str) -> dict:
            facts = {"span": str(self.span), "train_days": list(map(str, self.plan.train)), "metrics": judged["metrics"]}
            blessing.write(output, judged["reasons"], facts)
            return {}

        return blessing.read(self.run.stage("bless", [manifest.read(self.judge())["made_from"]], make))

    def push(self) -> serving.Version:
        """Makes the candidate what serves.

        Raises:
            Refused: with all that is against it.
        """
        blessed, checked = self.bless(), manifest.read(self.check_export())["result"]
        current = serving.current(self.served)
        stale = current is not None and Base.of(current).span > self.span
        against = serving.may_push(blessed.blessed, not checked["reasons"], False, stale)
        if against:
            why = [*blessed.reasons, *checked["reasons"]]
            raise Refused("the candidate is not pushed: " + "; ".join(against) + "".join(f"\n  {line}" for line in why))
        lineage = {
            "span": str(self.span),
            "model": self.export(),
            "run": self.directory,
            "trained_until": str(self.plan.train[-1]),
            "base": self.base and self.base.version.number,
            "labels": self.run.labels(),
        }
        serving.push(self.export(), self.served, lineage)
        serving.retain(self.served, self.config.keep_versions)
        return serving.current(self.served)
