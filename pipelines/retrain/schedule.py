"""Runs scheduled retraining: spans in order, one process at a time, each stage recorded in the history."""

import datetime
import json
import logging
from collections.abc import Iterator, Sequence

from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import files, locks, manifest
from pipelines.core.layout import PLAN
from pipelines.core.provenance import provenance
from pipelines.report import write as report
from pipelines.retrain import serving, spans
from pipelines.retrain.config import RetrainConfig
from pipelines.retrain.history import OpenRun, open_history
from pipelines.retrain.planning import SPANS, Refused, pushed_before
from pipelines.retrain.run import Retraining, plan_retraining
from pipelines.run.run import Run

#: Outcomes of a run in the history, in addition to those of `pipelines.retrain.history`.
PUSHED, REFUSED = "pushed", "refused"

log = logging.getLogger("mal_tf.retrain")


def retrain(config: RetrainConfig, run: RunConfig, span: datetime.date, first: bool = False) -> serving.Version | None:
    """Retrain for one span and return the version that was pushed; None if the span was pushed before.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        span: newest day of the logs.
        first: see `pipelines.retrain.run.plan_retraining`.

    Raises:
        Refused: the data or the model does not meet the limits.
        MissingLog: the log of a day does not exist.
        Busy: another process retrains.
        Interrupted: the day has not ended yet.
        MalTfError: any other error. In all cases the serving model is unchanged.
    """
    try:
        with locks.lock(config.root):
            number, refusal = None, None
            try:
                number = pushed_before(config.root, span)
            except Refused as error:
                refusal = error
            if number is not None:
                log.info("span %s: already pushed, as version %d", span, number)
                return None
            with report.at_the_end(f"{config.root}/{SPANS}/{span}"):
                return _run_span(config, run, span, first, refusal)
    except OSError as error:  # Such as a full disk.
        raise MalTfError(
            f"span {span}: {error}. Fix that and run the span again; the serving model is unchanged"
        ) from error


def _run_span(
    config: RetrainConfig, run: RunConfig, span: datetime.date, first: bool, refusal: Refused | None
) -> serving.Version:
    history = open_history(config.metadata, config.root)
    fingerprint = manifest.fingerprint(config.model_dump(mode="json"), run.model_dump(mode="json"))
    revision = provenance()["git_revision"] or "unknown"
    with history.run(str(span), fingerprint, revision) as recorded:
        try:
            if refusal:
                raise refusal
            attempt = plan_retraining(config, run, span, first)
            version = _run_stages(attempt, recorded)
        except (Refused, spans.MissingLog) as error:
            recorded.end(REFUSED, getattr(error, "reasons", None) or [str(error)])
            raise
        recorded.end(PUSHED, [f"version {version.number}"])
    _draw_journeys(attempt.run)
    return version


def backfill(
    config: RetrainConfig, run: RunConfig, days: Sequence[datetime.date], first: bool = False
) -> Iterator[tuple[datetime.date, serving.Version | MalTfError | None]]:
    """Retrain for several spans in order. A span that is refused does not stop those after it.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        days: the spans' days.
        first: whether the first of them that is not refused starts from scratch.

    Yields:
        Each span with the version that was pushed, the error that refused it, or None if it was pushed before.

    Raises:
        MalTfError: as `retrain`, except for refusals.
    """
    for span in days:
        try:
            version = retrain(config, run, span, first)
            first = False
            yield span, version
        except (Refused, spans.MissingLog) as error:
            yield span, error


def _run_stages(attempt: Retraining, recorded: OpenRun) -> serving.Version:
    plan, run, name = attempt.plan, attempt.run, attempt.name
    base = attempt.base.version.path if attempt.base else None
    origin = [attempt.base.version.lineage["model"]] if attempt.base else []  # The serving version is a copy of it.
    train = f"{plan.train[0]} to {plan.train[-1]} ({len(plan.train)} day{'s' if plan.train[1:] else ''})"
    log.info(
        "span %s: trains on %s, calibrated on %s, judged on %s, from %s",
        plan.span,
        train,
        ", ".join(map(str, plan.calibrate)) or "no day",
        plan.judge,
        base or "nothing",
    )
    days = {key: [str(day) for day in getattr(plan, key)] for key in ("train", "calibrate", "logs")}
    with run.opened():
        planned = {"span": str(plan.span), "judge": str(plan.judge), "base": base, **days}
        files.write_text(run.path(PLAN), json.dumps(planned, indent=1) + "\n")
        reads = [run.config.attribution.fit_from, run.config.labels.grow_from if run.config.labels else None]
        with recorded.stage("label", filter(None, reads)) as stage:
            directory = attempt.label()
            fitted_by = f"{attempt.config.root}/{SPANS}/{attempt.fit_span}/labels"
            clicks = {"days": f"{plan.logs[0]} to {plan.logs[-1]}", "fitted_by": fitted_by}
            stage.output("labels", directory, manifest.made_from(directory), **clicks)
        labels = directory
        with recorded.stage("check", [labels]) as stage:
            attempt.check()
            stage.output("statistics", run.path("statistics"), manifest.made_from(run.path("statistics")))
        with recorded.stage("train", [labels, *origin]) as stage:
            directory = attempt.train()
            fresh = "".join(f", {day} as known" for day in attempt.copies.fresh) if attempt.copies else ""
            stage.output("model", directory, manifest.made_from(directory), days=train + fresh)
        with recorded.stage("export", [directory]) as stage:
            export = attempt.export()
            stage.output("export", export, manifest.made_from(run.path("export", name)))
        with recorded.stage("judge", [export, labels, *origin]) as stage:
            judged = attempt.judge()
            stage.output("judgement", judged, manifest.made_from(judged))
        with recorded.stage("bless", [judged]) as stage:
            blessed = attempt.bless()
            stage.output("blessing", blessed, manifest.made_from(blessed))
        with recorded.stage("infra", [export]):
            attempt.try_export()
        with recorded.stage("push", [export, blessed]) as stage:
            version = attempt.push()
            stage.output("served", version.path, manifest.made_from(run.path("export", name)), span=str(plan.span))
    return version


def _draw_journeys(run: Run) -> None:
    """Draw journeys for the report. The model already serves, so a failure is only logged."""
    try:
        with run.opened():
            run.journeys()
    except MalTfError as error:
        log.warning("%s: no journeys for the report: %s", run.directory, error)
