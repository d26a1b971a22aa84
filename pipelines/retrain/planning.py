"""Plans a span: its base model, its days, and the earlier spans that it is compared with."""

import contextlib
import dataclasses
import datetime
import json
import logging
import pathlib

from features.errors import Interrupted, MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.layout import PLAN, PUSHED
from pipelines.labels import fits
from pipelines.labels.finish import REPORT
from pipelines.retrain import blessing, serving, spans
from pipelines.retrain.config import DELAYED, RetrainConfig, context_days

#: Directory of the spans' runs in the schedule's root.
SPANS = "spans"

#: Stages of a span's run, in addition to those of every run.
CHECKS, DELAY, JUDGE, BLESS, INFRA = "checks", "delay", "judge", "bless", "infra"

#: Largest number of earlier spans that a span's label report is compared with.
_MAX_REPORTS = 7

log = logging.getLogger("mal_tf.retrain")


class Refused(MalTfError):
    """The span's data or model does not meet the limits; the serving model stays."""

    exit_code = 3

    def __init__(self, message: str, reasons: list[str]):
        super().__init__("\n".join([message, *(f"  {reason}" for reason in reasons)]))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Base:
    """The model that a candidate starts from and is judged against.

    Attributes:
        version: the version that serves it.
        run: directory of the run that made it.
        labels: directory of the run's label job.
        span: the run's span.
        trained_until: last day that the model could be trained on.
        fit_span: span whose label job fitted the attribution that labelled its clicks.
        left_out: later days that must not train, as that span knew already.
        fresh: days that the model was trained on before their labels were final, and not since.
        judge_users: share of the users that were left out of that training.
    """

    version: serving.Version
    run: str
    labels: str
    span: datetime.date
    trained_until: datetime.date
    fit_span: datetime.date
    left_out: tuple[datetime.date, ...] = ()
    fresh: tuple[datetime.date, ...] = ()
    judge_users: float | None = None


def base_from(version: serving.Version) -> Base:
    """Return the base that a served version stands for.

    Raises:
        MalTfError: the version was not pushed by retraining.
    """
    lineage = version.lineage
    try:
        run, *dates = (lineage[key] for key in ("run", "span", "trained_until", "fit_span"))
        span, trained_until, fit_span = map(datetime.date.fromisoformat, dates)
        left_out, fresh = (
            tuple(map(datetime.date.fromisoformat, lineage.get(key, ()))) for key in ("left_out", "fresh")
        )
    except (KeyError, TypeError, ValueError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise MalTfError(
            f"{version.path}: expected a version that `mal-tf retrain` pushed, found in its {serving.LINEAGE}: {found}; move it "
            "away, or use another root"
        ) from error
    return Base(
        version,
        run,
        f"{run}/labels",
        span,
        trained_until,
        fit_span,
        left_out,
        fresh,
        version.lineage.get("judge_users"),
    )


def plan_span(
    config: RetrainConfig, run: RunConfig, span: datetime.date, base: Base | None, first: bool
) -> tuple[spans.SpanPlan, bool]:
    """Plan a span's days, and whether attribution is fitted again.

    Args:
        config: the schedule.
        run: the config that all spans' runs are derived from.
        span: newest day of the logs.
        base: the model to start from.
        first: whether this is the first run, without a model to start from or to be judged against.

    Raises:
        Interrupted: the day has not ended yet by this machine's clock.
        Refused: there is no day to train on.
        MalTfError: there is no base and `first` is not set, or there is one and it is set, or `judge_users` has changed.
    """
    now, end = datetime.datetime.now(datetime.timezone.utc), spans.midnight(span + datetime.timedelta(days=1))
    if now < end:
        raise Interrupted(
            f"span {span} ends at {end:%Y-%m-%d %H:%M}Z, and this machine's clock says {now:%Y-%m-%d %H:%M}Z; try again "
            "later, or set the clock"
        )
    if base is None and not first:
        raise MalTfError(
            f"{config.root}: expected a serving model of an earlier span to start from and to judge against, found none; a first "
            "run, whose model is judged by floors alone, needs --first"
        )
    if base is not None and first:
        raise MalTfError(f"{base.version.path} serves the model of span {base.span}; leave out --first")
    if base and base.fresh and base.judge_users != config.judge_users:
        raise MalTfError(
            f"judge_users: expected {base.judge_users}, found {config.judge_users}: all other users' clicks of "
            f"{', '.join(map(str, base.fresh))} have been trained on and can't judge. To change it, use immature: wait until no "
            "such days are left"
        )
    if base and base.fresh and run.calibration:
        raise MalTfError(
            f"calibration: {', '.join(map(str, base.fresh))} have been trained on before their windows closed, and can't fit a "
            "calibration map; leave it out until a span with immature: wait has trained on them"
        )
    left_out: list[datetime.date] = []
    if base is not None and config.after_refusal == "skip":
        left_out = sorted({*_excluded_days(config.root, base.span, span, config.immature), *base.left_out})
    calendar = spans.Calendar(
        config.first_day,
        run.attribution.longest_window_hours,
        context_days(config, run),
        config.missing_days,
        run.calibration.segments if run.calibration else 0,
        config.immature == DELAYED,
    )
    days = calendar.plan(span, base.trained_until if base else None, left_out)
    if not days.train:
        reasons = [f"the serving model has been trained up to {base.trained_until}"] if base else []
        if left_out:
            reasons.append(
                f"left out for anomalies or refused candidates (after_refusal): {', '.join(map(str, left_out))}"
            )
        if days.calibrate:
            reasons.append(f"held out for calibration (calibration.segments): {', '.join(map(str, days.calibrate))}")
        raise Refused(f"span {span}: there is no new day to train on", reasons)
    return days, base is None or (span - base.fit_span).days >= config.fit_age_days or _fits_unusable(run, base)


def _fits_unusable(run: RunConfig, base: Base) -> bool:
    """Return whether the base's fits can't be used, as none are needed or they were made with another config."""
    if not run.attribution.data_driven:
        return True
    try:
        fits.read(base.labels, run.attribution, run.sources.tables())
    except MalTfError as error:
        log.info("attribution is fitted again: %s", error)
        return True
    return False


def anomalies_of(directory: str) -> list[str] | None:
    """Return the anomalies of a span's data; None if it has not been checked."""
    checked = f"{directory}/{CHECKS}"
    return manifest.read(checked)["result"]["anomalies"] if files.exists(f"{checked}/{manifest.MANIFEST}") else None


def _excluded_days(root: str, since: datetime.date, until: datetime.date, immature: str) -> list[datetime.date]:
    """Return days between two spans that a refused candidate was trained or calibrated on, or whose clicks had anomalies.

    Anomalies of the `eval` split are attributed to the day that judges, with `wait`, where the split has no other day. With
    delayed feedback they are attributed to the days that no span without anomalies has read before; with `mark` to no day.

    Args:
        root: the schedule's root.
        since: the base's span.
        until: the span that is planned.
        immature: the schedule's `immature`.
    """
    excluded, last_clean = set(), since
    for span, directory in _earlier(root, until):
        if span <= since or not files.exists(f"{directory}/{PLAN}"):
            continue
        planned, anomalies = json.loads(files.read_text(f"{directory}/{PLAN}")), anomalies_of(directory)
        train = [*planned["train"], *planned.get("calibrate", ())]
        if files.exists(f"{directory}/{BLESS}/{blessing.NOT_BLESSED}"):
            excluded |= {*train, *blessing.read(f"{directory}/{BLESS}").facts.get("fresh", ())}
        new = list(map(str, spans.days(last_clean + datetime.timedelta(days=1), span)))
        eval_days = {"wait": [planned["judge"]], DELAYED: new}.get(immature, [])
        for split, days in (("train", train), ("eval", eval_days)):
            excluded |= {day for day in days if any(line.startswith(f"{split} split") for line in anomalies or [])}
        if anomalies == []:
            last_clean = span
    return sorted(map(datetime.date.fromisoformat, excluded))


def _earlier(root: str, span: datetime.date) -> list[tuple[datetime.date, str]]:
    """Return the spans before this one that have a directory, and the directories, oldest first."""
    digit = "[0-9]"
    names = sorted(path.name for path in pathlib.Path(root, SPANS).glob(f"{4 * digit}-{2 * digit}-{2 * digit}"))
    dated = []
    for name in names:
        with contextlib.suppress(ValueError):  # Somebody's: 2024-02-30 is no day.
            dated.append((datetime.date.fromisoformat(name), f"{root}/{SPANS}/{name}"))
    return [(day, directory) for day, directory in dated if day < span]


def trailing_reports(root: str, span: datetime.date) -> list[dict]:
    """Return the label reports of spans before this one whose data had no anomalies, oldest first."""
    earlier = [directory for _, directory in _earlier(root, span) if anomalies_of(directory) == []]
    reports = [f"{directory}/labels" for directory in earlier if files.exists(f"{directory}/labels/{REPORT}")]
    return list(map(report, reports[-_MAX_REPORTS:]))


def pushed_before(root: str, span: datetime.date) -> int | None:
    """Return the version number that a span was pushed as; None if it was not pushed.

    A span is pushed only once, as later spans start from its directory, which must not change any more.

    Raises:
        Refused: the span's model was rolled back since, or a later span's model serves.
    """
    served = f"{root}/{serving.SERVING}"
    current, number = serving.current(served), None
    if files.exists(marker := f"{root}/{SPANS}/{span}/{PUSHED}"):
        number = json.loads(files.read_text(marker))["version"]
    for version in serving.versions(served):  # The marker is missing if the process was killed before writing it.
        if base_from(version).span == span:
            number = version.origin
    if current is None or number == current.origin:
        return number
    serving_span = base_from(current).span
    if number is not None and serving_span < span:
        raise Refused(
            f"span {span}: its model, version {number}, was rolled back, and that of span {serving_span} serves. To serve it "
            f"again, roll back to {number}; the next span trains on its days again",
            [],
        )
    if number is None and serving_span > span:
        raise Refused(
            f"span {span}: the model of the later span {serving_span} serves; a missed span is not made up for", []
        )
    return number


def report(labels: str) -> dict:
    """Read a label job's report."""
    return json.loads(files.read_text(f"{labels}/{REPORT}"))
