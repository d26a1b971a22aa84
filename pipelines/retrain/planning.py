"""Planning of a span: its base model, its days, and the earlier spans it is compared with."""

import dataclasses
import datetime
import json
import logging
import pathlib

from features.errors import Interrupted, MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.labels import fits
from pipelines.labels.finish import REPORT
from pipelines.retrain import blessing, serving, spans
from pipelines.retrain.config import DELAYED, RetrainConfig, context_days

#: Under the schedule's root: a run's directory per span, and the versions that are served.
SPANS, SERVING = "spans", "serving"

#: Stages of a span's run, beside those of every run.
CHECKS, DELAY, JUDGE, BLESS, INFRA = "checks", "delay", "judge", "bless", "infra"

#: File with the version number that a span was pushed as.
PUSHED = "pushed.json"

#: Spans that a span's label report is compared with, at most.
_TRAILING = 7

log = logging.getLogger("mal_tf.retrain")


class Refused(MalTfError):
    """The span's data or model is not good enough; the model that serves stays."""

    exit_code = 3

    def __init__(self, message: str, reasons: list[str]):
        super().__init__("\n".join([message, *(f"  {reason}" for reason in reasons)]))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Base:
    """The model that a candidate starts from and is judged against.

    Attributes:
        version: that serves it.
        run: directory of the span's run that made it.
        labels: directory of its label job.
        span: of that run.
        trained_until: last day that it could be trained on.
        fit_span: span whose label job fitted the attribution that labelled its clicks.
        left_out: later days that are not to train, as that span knew already.
        fresh: days that it has been trained on before their labels were final, and not since.
        judge_users: share of the users that were left out then.
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


def base_of(version: serving.Version) -> Base:
    """A served version as a base.

    Raises:
        MalTfError: it was not pushed by retraining.
    """
    try:
        run, *dates = (version.lineage[key] for key in ("run", "span", "trained_until", "fit_span"))
    except KeyError as error:
        raise MalTfError(
            f"{version.path}: expected a version that `mal-tf retrain` pushed, found no {error} in its "
            f"{serving.LINEAGE}; move it away, or use another root"
        ) from error
    left_out, fresh = (
        tuple(map(datetime.date.fromisoformat, version.lineage.get(key, ()))) for key in ("left_out", "fresh")
    )
    span, trained_until, fit_span = map(datetime.date.fromisoformat, dates)
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


def planned(
    config: RetrainConfig, run: RunConfig, span: datetime.date, base: Base | None, first: bool
) -> tuple[spans.SpanPlan, bool]:
    """A span's days, and whether attribution is fitted anew.

    Args:
        config: the schedule.
        run: the config of all spans' runs.
        span: newest day of the logs.
        base: what to start from.
        first: whether there is nothing yet to start from and to be judged against.

    Raises:
        Interrupted: the day has not ended yet by this machine's clock.
        Refused: there is no day to train on.
        MalTfError: there is no base, and `first` is not set; or the other way round; or `judge_users` has changed.
    """
    now, end = datetime.datetime.now(datetime.timezone.utc), spans.midnight(span + datetime.timedelta(days=1))
    if now < end:
        raise Interrupted(
            f"span {span} ends at {end:%Y-%m-%d %H:%M}Z, and this machine's clock says {now:%Y-%m-%d %H:%M}Z: try later, "
            "or set the clock"
        )
    if base is None and not first:
        raise MalTfError(
            f"{config.root}: no earlier span's model serves, so there is nothing to start from and to be judged against; "
            "a first run, whose model is held against floors alone, needs --first"
        )
    if base is not None and first:
        raise MalTfError(f"{base.version.path} serves the model of span {base.span}: leave out --first")
    if base and base.fresh and base.judge_users != config.judge_users:
        raise MalTfError(
            f"judge_users: expected {base.judge_users}, found {config.judge_users}: others than these users' clicks of "
            f"{', '.join(map(str, base.fresh))} have been trained on and can't judge. It can be changed when no such days are "
            "left, with immature: wait until then"
        )
    if base and base.fresh and run.calibration:
        raise MalTfError(
            f"calibration: {', '.join(map(str, base.fresh))} have been trained on before their windows closed, and can't fit a "
            "map; leave it out until a span with immature: wait has trained on them"
        )
    left_out: list[datetime.date] = []
    if base is not None and config.after_refusal == "skip":
        left_out = sorted({*_spoilt_days(config.root, base.span, span, config.immature), *base.left_out})
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
        why = [f"the model that serves has been trained up to {base.trained_until}"] if base else []
        if left_out:
            why.append(f"left out for anomalies or refused candidates (after_refusal): {', '.join(map(str, left_out))}")
        if days.calibrate:
            why.append(f"held out for calibration (calibration.segments): {', '.join(map(str, days.calibrate))}")
        raise Refused(f"span {span}: there is no new day to train on", why)
    return days, base is None or (span - base.fit_span).days >= config.fit_age_days or _fits_otherwise(run, base)


def _fits_otherwise(run: RunConfig, base: Base) -> bool:
    """Whether the base's fits are of no use: none are needed, or they are of other settings."""
    if not run.attribution.data_driven:
        return True
    try:
        fits.read(base.labels, run.attribution, run.sources.tables().clicks.columns.touchpoint)
    except MalTfError as error:
        log.info("attribution is fitted anew: %s", error)
        return True
    return False


def anomalies_of(directory: str) -> list[str] | None:
    """Anomalies of a span's data; None if it has not been checked."""
    checked = f"{directory}/{CHECKS}"
    return manifest.read(checked)["result"]["anomalies"] if files.exists(f"{checked}/{manifest.MANIFEST}") else None


def _spoilt_days(root: str, since: datetime.date, until: datetime.date, immature: str) -> list[datetime.date]:
    """Days between two spans that a refused candidate trained or was calibrated on, or whose clicks had anomalies.

    Anomalies of the `eval` split are those of the day that judges, where the split has no other. With delayed feedback they
    are those of the days that no span without anomalies has read before; with `mark` nobody's.

    Args:
        root: of the schedule.
        since: span of the base.
        until: the span that is planned.
        immature: the schedule's.
    """
    spoilt, clean = set(), since
    for span, directory in _earlier(root, until):
        if span <= since or not files.exists(f"{directory}/plan.json"):
            continue
        planned, anomalies = json.loads(files.read_text(f"{directory}/plan.json")), anomalies_of(directory)
        train = [*planned["train"], *planned.get("calibrate", ())]
        if files.exists(f"{directory}/{BLESS}/{blessing.NOT_BLESSED}"):
            spoilt |= {*train, *blessing.read(f"{directory}/{BLESS}").facts.get("fresh", ())}
        new = list(map(str, spans.days(clean + datetime.timedelta(days=1), span)))
        eval_days = {"wait": [planned["judge"]], DELAYED: new}.get(immature, [])
        for split, days in (("train", train), ("eval", eval_days)):
            spoilt |= {day for day in days if any(line.startswith(f"{split} split") for line in anomalies or [])}
        if anomalies == []:
            clean = span
    return sorted(map(datetime.date.fromisoformat, spoilt))


def _earlier(root: str, span: datetime.date) -> list[tuple[datetime.date, str]]:
    """Spans before this one that have a directory, oldest first."""
    digit = "[0-9]"
    names = sorted(path.name for path in pathlib.Path(root, SPANS).glob(f"{4 * digit}-{2 * digit}-{2 * digit}"))
    dated = [(datetime.date.fromisoformat(name), f"{root}/{SPANS}/{name}") for name in names]
    return [(day, directory) for day, directory in dated if day < span]


def trailing_reports(root: str, span: datetime.date) -> list[dict]:
    """Label reports of the spans before this one whose data had no anomalies, oldest first."""
    earlier = [directory for _, directory in _earlier(root, span) if anomalies_of(directory) == []]
    reports = [f"{directory}/labels" for directory in earlier if files.exists(f"{directory}/labels/{REPORT}")]
    return list(map(report, reports[-_TRAILING:]))


def pushed_before(root: str, span: datetime.date) -> int | None:
    """The version number that a span was pushed as; None if it was not pushed.

    A span is pushed once: later ones start from its directory, which is not to change any more.

    Raises:
        Refused: it was rolled back since, or a later span's model serves.
    """
    served = f"{root}/{SERVING}"
    current, number = serving.current(served), None
    if files.exists(marker := f"{root}/{SPANS}/{span}/{PUSHED}"):
        number = json.loads(files.read_text(marker))["version"]
    for version in serving.versions(served):  # The marker is not there if the process was killed before it.
        if base_of(version).span == span:
            number = version.origin
    if current is None or number == current.origin:
        return number
    of = base_of(current).span
    if number is not None and of < span:
        raise Refused(
            f"span {span}: its model, version {number}, was rolled back, and that of span {of} serves: to have it serve "
            f"again, roll back to {number}; the next span trains on its days again",
            [],
        )
    if number is None and of > span:
        raise Refused(
            f"span {span}: the model of span {of} serves, which is later; a missed span is not made up for", []
        )
    return number


def report(labels: str) -> dict:
    """A label job's report."""
    return json.loads(files.read_text(f"{labels}/{REPORT}"))
