"""Retrains for one span in stages: label, check, train, judge, bless, push. Finished stages are not repeated."""

import dataclasses
import datetime
import functools
import json
from typing import Any

from features.errors import BadInput
from features.keras2 import tf
from mal_tf.serving.check import Checked
from mal_tf.serving.requests import signature_requests
from mal_tf.training.delayed_feedback import waits
from pipelines.clicks import labelled
from pipelines.clicks.scoring import score
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.layout import PUSHED
from pipelines.core.provenance import has_same_config
from pipelines.evaluate.evaluate import EVENTS, write_events
from pipelines.retrain import blessing, checks, feedback, infra, judge, serving, spans
from pipelines.retrain.config import DELAYED, RetrainConfig
from pipelines.retrain.planning import (
    BLESS,
    CHECKS,
    DELAY,
    INFRA,
    JUDGE,
    SPANS,
    Base,
    Refused,
    base_from,
    plan_span,
    report,
    trailing_reports,
)
from pipelines.run.run import Run
from pipelines.run.verify import differences, verify
from pipelines.train.credit_delay import Copies
from pipelines.validate import gate, statistics


@dataclasses.dataclass(frozen=True)
class Retraining:
    """The retraining of a span.

    Each method of a stage brings it, and the stages that it depends on, up to date, and returns its directory.

    Attributes:
        config: the schedule.
        plan: the span's days.
        base: the model to start from; None on a first run.
        fit_span: span whose label job fits, or has fitted, the attribution.
        run: the span's run.
    """

    config: RetrainConfig
    plan: spans.SpanPlan
    base: Base | None
    fit_span: datetime.date
    run: Run

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.run.config.model.name

    @property
    def served(self) -> str:
        """Directory of the served versions."""
        return f"{self.config.root}/{serving.SERVING}"

    def label(self) -> str:
        """Label the clicks of the span's days.

        Raises:
            Refused: a log is damaged or has changed, as the base's run read logs with the same config.
        """
        try:
            return self.run.labels()
        except BadInput as error:
            if self.base and has_same_config(self.base.run, self.run.config, "sources", "features"):
                trained = ", ".join(map(str, self.plan.train))
                remedy = (
                    f"it trains on the clicks of {trained} and is judged on those of {self.plan.judge}: "
                    "provide their logs again, or add a day that will never have any to missing_days"
                )
                raise Refused(
                    f"span {self.plan.span}: its logs differ from earlier ones:", [str(error), remedy]
                ) from error
            raise

    def check(self) -> str:
        """Check the labelled clicks.

        Raises:
            Refused: the data has anomalies, each reported with feature, measure, value and limit.
        """
        labels = self.label()
        try:
            self.run.validate()
            schema = []
        except gate.Anomalies as error:
            schema = error.lines
        earlier = trailing_reports(self.config.root, self.plan.span)
        days = [day for day in self.plan.logs if day not in self.config.missing_days]

        def stage(output: str) -> dict:
            data = checks.SpanData(
                statistics.load(self.run.statistics()),
                statistics.load(f"{self.base.run}/statistics") if self.base else None,
                report(labels),
                earlier,
                days,
                self.plan.judge,
                schema,
            )
            return checks.run(data, self.run.config, self.config.checks, output)

        log_files = checks.serving_log(self.config.checks, self.plan.judge)
        made_from: list[Any] = [
            manifest.made_from(labels),
            schema,
            self.config.checks.model_dump(mode="json"),
            self._base_version(),
        ]
        made_from += [earlier, list(map(str, days)), [[path, size, files.modified(path)] for path, size in log_files]]
        output = self.run.stages.run(CHECKS, made_from, stage)
        if anomalies := manifest.read(output)["result"]["anomalies"]:
            raise Refused(f"span {self.plan.span}: anomalies in the data, nothing was trained:", anomalies)
        return output

    def delay(self) -> str:
        """Measure the delay of credit, for delayed feedback.

        Raises:
            Refused: the data has anomalies.
        """
        self.check()
        labels, before = self.label(), feedback.read_curve(self.base.run) if self.base else None
        if before and self.base and not has_same_config(self.base.run, self.run.config, "attribution"):
            before = None
        early = feedback.early_runs(self.config.root, self.plan.train) if self.config.immature == DELAYED else {}

        def make(output: str) -> dict:
            curve = feedback.merge_delay(before, early, self.plan, labels, self.run.config)
            if curve:
                files.write_text(f"{output}/{feedback.CURVE}", curve.model_dump_json() + "\n")
            return {}

        early_labels = {str(day): manifest.made_from(f"{run}/labels") for day, run in early.items()}
        return self.run.stages.run(DELAY, [manifest.made_from(labels), repr(before), early_labels], make)

    @functools.cached_property
    def copies(self) -> Copies | None:
        """The clicks that train instead of the training split; None if the split trains, without delayed feedback or a delay.

        Raises:
            Refused: the data has anomalies.
        """
        early = self.base.fresh if self.base else ()
        if not (early or self.plan.fresh):
            return None
        self.delay()
        curve = feedback.read_curve(self.run.directory)
        return feedback.copies(curve, self.plan, early, self.run.resolved(), self.config.judge_users)

    @property
    def fresh(self) -> tuple[datetime.date, ...]:
        """Days that the candidate, or a model before it, was trained on before their labels were final, and not since."""
        early = self.base.fresh if self.base else ()
        new = self.copies.fresh if self.copies else ()
        return (*(day for day in early if day >= self.plan.judge), *new)

    def train(self) -> str:
        """Train the candidate on checked clicks.

        Raises:
            Refused: the data has anomalies.
        """
        self.check()
        return self._training.train(self.name)

    def export(self) -> str:
        """Export the candidate and return its SavedModel's directory."""
        self.train()
        return self._training.export(self.name)

    def judge(self) -> str:
        """Score the judging day's clicks with the candidate and with its base, and apply the gates.

        Raises:
            Refused: the data has anomalies.
        """
        versions = {judge.CANDIDATE: self.export()} | ({judge.BLESSED: self.base.version.path} if self.base else {})
        gates, config, labels = self.config.gates, self.run.config, self.label()
        users = self.config.judge_users if self.fresh else None

        def make(output: str) -> dict:
            return judge_candidate(config, gates, labels, versions, output, users)

        exported = manifest.made_from(self.run.path("export", self.name))
        made_from = [exported, self._base_version(), gates.model_dump(mode="json"), config.seed, users]
        return self.run.stages.run(JUDGE, made_from, make)

    def bless(self) -> str:
        """Bless the candidate, or record the reasons against it."""
        judged = self.judge()

        def make(output: str) -> dict:
            judgement = manifest.read(judged)["result"]
            facts = {
                "span": str(self.plan.span),
                "train": list(map(str, self.plan.train)),
                "calibrate": list(map(str, self.plan.calibrate)),
                "judge": str(self.plan.judge),
                "fresh": list(map(str, self.copies.fresh)) if self.copies else [],
            }
            blessing.write(
                output, judgement["reasons"], facts | {"base": self._base_version(), "all": judgement["all"]}
            )
            return {"reasons": judgement["reasons"]}

        return self.run.stages.run(BLESS, [manifest.made_from(judged)], make)

    def try_export(self) -> str:
        """Run the infra check: load and call the export in a fresh process.

        Raises:
            Refused: the check failed. It is repeated when the span is run again.
        """
        version, config, labels = self.export(), self.run.config, self.label()

        def make(output: str) -> dict:
            checked = check_export(config, self.config.infra, labels, version)
            if checked.reasons:
                reasons = [*blessing.read(self.bless()).reasons, *checked.reasons]
                raise Refused(f"span {self.plan.span}: the export failed the infra check:", reasons)
            return dataclasses.asdict(checked)

        exported = manifest.made_from(self.run.path("export", self.name))
        return self.run.stages.run(INFRA, [exported, self.config.infra.model_dump(mode="json")], make)

    def push(self) -> serving.Version:
        """Push the candidate to the serving directory and return its version.

        Raises:
            Refused: there are reasons against it, which the error lists.
        """
        blessed = blessing.read(self.bless())
        self.try_export()
        current = serving.current(self.served)
        is_other_span = current is not None and base_from(current).span != self.plan.span
        # After a rollback in the meantime, the serving model is not the base.
        stale = current is not None and is_other_span and current.origin != self._base_version()
        if reasons := serving.may_push(blessed.blessed, True, False, stale):
            raise Refused(f"span {self.plan.span}: the candidate is not pushed: {'; '.join(reasons)}", blessed.reasons)
        if changed := differences(verify(self.run.directory), strays=False):
            raise Refused(
                f"span {self.plan.span}: files were changed since they were written, nothing is pushed:", changed
            )
        lineage = {
            "span": str(self.plan.span),
            "model": self.export(),
            "run": self.run.directory,
            "train": list(map(str, self.plan.train)),
            **spans.facts_for_later(self.plan),
            "fit_span": str(self.fit_span),
            "base": self._base_version(),
        }
        if self.fresh:
            lineage |= {"fresh": list(map(str, self.fresh)), "judge_users": self.config.judge_users}
        number = serving.push(lineage["model"], self.served, lineage, current.number if current else None)
        files.write_text(self.run.path(PUSHED), json.dumps({"version": number}) + "\n")
        serving.retain(self.served, self.config.keep_versions)
        return next(version for version in serving.versions(self.served) if version.number == number)

    @property
    def _training(self) -> Run:
        return dataclasses.replace(self.run, copies=self.copies)

    def _base_version(self) -> int | None:
        return self.base.version.origin if self.base else None


def judge_candidate(
    config: RunConfig,
    gates: judge.GatesConfig,
    labels: str,
    versions: dict[str, str],
    output: str,
    users: float | None = None,
) -> dict:
    """Score the `eval` split with a candidate, and with the blessed model if there is one, and apply the gates.

    Args:
        config: the run's config.
        gates: the limits to meet.
        labels: directory of the label job.
        versions: directory of the SavedModel by `judge.CANDIDATE` and `judge.BLESSED`.
        output: directory to write to.
        users: share of the users that judge (`mal_tf.training.delayed_feedback.waits`); by default all.

    Returns:
        `{"reasons", "notes", "all"}` of the `Judgement`.
    """
    data = labelled.load(labels, config.feature_spec)
    features = gates.slices.features(config.feature_spec)
    clicks = score(config, data, versions, output, features)
    if users is not None:
        clicks = clicks[waits(tf.constant(clicks["user_id"].to_numpy(str)), users).numpy()].reset_index(drop=True)
    judgement = dataclasses.asdict(judge.judge(clicks, config.model.primary, gates, config.seed))
    files.write_text(f"{output}/judgement.json", json.dumps(judgement, indent=1) + "\n")
    write_events({config.model.primary: {"models": judgement["all"]["metrics"]}}, f"{output}/{EVENTS}")
    return {"reasons": judgement["reasons"], "notes": judgement["notes"], "all": judgement["all"]}


def check_export(config: RunConfig, limits: infra.InfraConfig, labels: str, saved_model: str) -> Checked:
    """Check an export in a fresh process, with requests made from clicks of the `eval` split."""
    examples = labelled.load(labels, config.feature_spec).clicks("eval").head(limits.rows)
    requests = signature_requests(examples, config.feature_spec, config.export.user_features)
    return infra.check(saved_model, requests, limits)


def plan_retraining(config: RetrainConfig, run: RunConfig, span: datetime.date, first: bool = False) -> Retraining:
    """Plan a span's retraining, which starts from the newest served model of an earlier span. Nothing is written.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        span: newest day of the logs.
        first: see `plan_span`.

    Raises:
        MalTfError: see `plan_span`.
    """
    bases = [base for base in map(base_from, serving.versions(f"{config.root}/{serving.SERVING}")) if base.span < span]
    base = bases[-1] if bases else None
    days, refit = plan_span(config, run, span, base, first)
    run_config = spans.span_config(
        run,
        days,
        "drop" if config.immature == "wait" else "mark",
        config.missing_days,
        base.run if base else None,
        base.labels if base and not refit else None,
    )
    directory = f"{config.root}/{SPANS}/{span}"
    return Retraining(config, days, base, base.fit_span if base and not refit else span, Run(run_config, directory))
