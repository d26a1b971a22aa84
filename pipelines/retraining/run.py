"""The retraining of one span: label, check, train, judge, bless, push; what is finished is not repeated."""

import dataclasses
import datetime
import json
import logging
import pathlib

from features.errors import Interrupted, MalTfError
from mal_tf.serving.requests import signature_requests
from mal_tf.training.dataset import serialized
from pipelines import files, labelled, manifest, stages
from pipelines.config import RunConfig
from pipelines.labels import fits
from pipelines.labels.finish import REPORT
from pipelines.retraining import blessing, checks, infra, judge, serving, spans
from pipelines.retraining.config import RetrainConfig, context_days
from pipelines.run import Run
from pipelines.validation import gate, statistics

#: Under the schedule's root: a run's directory per span, and the versions that are served.
SPANS, SERVING = "spans", "serving"

#: Stages of a span's run, beside those of every run.
CHECKS, JUDGE, BLESS, INFRA = "checks", "judge", "bless", "infra"

#: Says as which version a span was pushed.
PUSHED = "pushed.json"

#: Spans that a span's label report is compared with, at most.
_TRAILING = 7

log = logging.getLogger("mal_tf.retrain")


class Refused(MalTfError):
    """The span's data or its model is not good enough; what serves stays as it is."""

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
    """

    version: serving.Version
    run: str
    labels: str
    span: datetime.date
    trained_until: datetime.date
    fit_span: datetime.date


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
    return Base(version, run, f"{run}/labels", *map(datetime.date.fromisoformat, dates))


@dataclasses.dataclass(frozen=True)
class Retraining:
    """A span's retraining. Each method is a stage: it brings what it needs up to date and gives back its directory.

    Attributes:
        config: the schedule.
        plan: the span's days.
        base: what to start from; None on a first run.
        fit_span: span whose label job fits, or has fitted, the attribution.
        run: of the span.
    """

    config: RetrainConfig
    plan: spans.Plan
    base: Base | None
    fit_span: datetime.date
    run: Run

    @property
    def name(self) -> str:
        """Of the model."""
        return self.run.config.model.name

    @property
    def served(self) -> str:
        """Directory of the versions that are served."""
        return f"{self.config.root}/{SERVING}"

    def label(self) -> str:
        """Labels the clicks of the span's days."""
        return self.run.labels()

    def check(self) -> str:
        """Measures the labelled clicks.

        Raises:
            Refused: anomalies, each with feature, measure, value and limit.
        """
        labels = self.label()
        previous = self.base and f"{self.base.run}/statistics"
        earlier = trailing_reports(self.config.root, self.plan.span)
        days = [day for day in self.plan.logs if day not in self.config.missing_days]

        def make(output: str) -> dict:
            found = checks.check(
                statistics.load(self.run.statistics()),
                statistics.load(previous) if previous else None,
                checks.serving_statistics(self.config.checks, self.plan.judge, output),
                _report(labels),
                earlier,
                days,
                self.run.config,
                self.config.checks,
            )
            measured = [dataclasses.asdict(one) | {"anomalous": one.anomalous} for one in found]
            files.write_text(f"{output}/measurements.json", json.dumps(measured, indent=1) + "\n")
            return {"anomalies": schema + [str(one) for one in found if one.anomalous]}

        try:
            self.run.validate()
            schema = []
        except gate.Anomalies as error:
            schema = error.lines
        asked = checks.serving_log(self.config.checks, self.plan.judge)
        made_from = [_made_from(labels), schema, self.config.checks.model_dump(mode="json"), self._base_version()]
        made_from += [earlier, list(map(str, days)), [[path, size, files.modified(path)] for path, size in asked]]
        output = self.run.stage(CHECKS, made_from, make)
        if anomalies := manifest.read(output)["result"]["anomalies"]:
            raise Refused(f"span {self.plan.span}: anomalies in the data, nothing was trained:", anomalies)
        return output

    def train(self) -> str:
        """Trains the candidate on checked clicks.

        Raises:
            Refused: anomalies.
        """
        self.check()
        return self.run.train(self.name)

    def export(self) -> str:
        """Exports the candidate: its SavedModel."""
        self.train()
        return self.run.export(self.name)

    def judge(self) -> str:
        """Scores the day that judges, with the candidate and with its base, and holds both against the gates.

        Raises:
            Refused: anomalies.
        """
        versions = {judge.CANDIDATE: self.export()} | ({judge.BLESSED: self.base.version.path} if self.base else {})
        gates, config, labels = self.config.gates, self.run.config, self.label()

        def make(output: str) -> dict:
            return judged(config, gates, labels, versions, output)

        exported = _made_from(self.run.path("export", self.name))
        made_from = [exported, self._base_version(), gates.model_dump(mode="json"), config.seed]
        return self.run.stage(JUDGE, made_from, make)

    def bless(self) -> str:
        """Blesses the candidate, or says why not."""
        judged = self.judge()

        def make(output: str) -> dict:
            found = manifest.read(judged)["result"]
            facts = {
                "span": str(self.plan.span),
                "train": list(map(str, self.plan.train)),
                "judge": str(self.plan.judge),
            }
            blessing.write(output, found["reasons"], facts | {"base": self._base_version(), "all": found["all"]})
            return {"reasons": found["reasons"]}

        return self.run.stage(BLESS, [_made_from(judged)], make)

    def try_export(self) -> str:
        """Loads the export in a fresh process, asks it and times it.

        Raises:
            Refused: it failed; it is tried again when the span is repeated.
        """
        version, config, labels = self.export(), self.run.config, self.label()

        def make(output: str) -> dict:
            found = tried(config, self.config.infra, labels, version)
            if found.reasons:
                reasons = [*blessing.read(self.bless()).reasons, *found.reasons]
                raise Refused(f"span {self.plan.span}: the export failed the infra check:", reasons)
            return dataclasses.asdict(found)

        exported = _made_from(self.run.path("export", self.name))
        return self.run.stage(INFRA, [exported, self.config.infra.model_dump(mode="json")], make)

    def push(self) -> serving.Version:
        """Has the candidate serve: its version.

        Raises:
            Refused: with all that is against it.
        """
        blessed = blessing.read(self.bless())
        self.try_export()
        current = serving.current(self.served)
        others = current is not None and base_of(current).span != self.plan.span
        stale = others and current.origin != self._base_version()  # Somebody has rolled back meanwhile.
        if against := serving.may_push(blessed.blessed, True, False, stale):
            raise Refused(f"span {self.plan.span}: the candidate is not pushed: {'; '.join(against)}", blessed.reasons)
        lineage = {
            "span": str(self.plan.span),
            "model": self.export(),
            "run": self.run.directory,
            "train": list(map(str, self.plan.train)),
            "trained_until": str(self.plan.judge - datetime.timedelta(days=1)),
            "fit_span": str(self.fit_span),
            "base": self._base_version(),
        }
        number = serving.push(lineage["model"], self.served, lineage)
        files.write_text(self.run.path(PUSHED), json.dumps({"version": number}) + "\n")
        serving.retain(self.served, self.config.keep_versions)
        return next(version for version in serving.versions(self.served) if version.number == number)

    def _base_version(self) -> int | None:
        return self.base and self.base.version.origin


def judged(config: RunConfig, gates: judge.GatesConfig, labels: str, versions: dict[str, str], output: str) -> dict:
    """Scores the `eval` split with a candidate, and the blessed model where there is one, and holds them against the gates.

    Args:
        config: of the run.
        gates: what must hold.
        labels: directory of the label job.
        versions: SavedModels by `judge.CANDIDATE` and `judge.BLESSED`.
        output: directory to write to.

    Returns:
        `{"reasons", "notes", "all"}` of the `Judgement`.
    """
    data = labelled.load(labels, config.feature_spec)
    features = gates.slices.features(config.feature_spec)
    clicks = stages.score(config, data, versions, output, features)
    found = dataclasses.asdict(judge.judge(clicks, config.model.primary, gates, config.seed))
    files.write_text(f"{output}/judgement.json", json.dumps(found, indent=1) + "\n")
    return {"reasons": found["reasons"], "notes": found["notes"], "all": found["all"]}


def tried(config: RunConfig, limits: infra.InfraConfig, labels: str, saved_model: str) -> infra.Infra:
    """Tries an export in a fresh process, with requests of clicks of the `eval` split."""
    segments = labelled.load(labels, config.feature_spec).splits["eval"].segments
    examples = next(iter(serialized(segments, limits.rows)))
    requests = signature_requests(examples, config.feature_spec, config.export.user_features)
    return infra.check(saved_model, requests, limits)


def trailing_reports(root: str, span: datetime.date) -> list[dict]:
    """Label reports of the spans before this one whose data had no anomalies, oldest first."""
    earlier = [directory for _, directory in _earlier(root, span) if _anomalies(directory) == []]
    reports = [f"{directory}/labels" for directory in earlier if files.exists(f"{directory}/labels/{REPORT}")]
    return list(map(_report, reports[-_TRAILING:]))


def pushed_before(root: str, span: datetime.date) -> int | None:
    """The version that a span was pushed as; None if it was not.

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
            f"again, roll back to {number}; the next span trains on its days again, unless they are in missing_days",
            [],
        )
    if number is None and of > span:
        raise Refused(
            f"span {span}: the model of span {of} serves, which is later; what it missed is not made up for", []
        )
    return number


def retraining(config: RetrainConfig, run: RunConfig, span: datetime.date, first: bool = False) -> Retraining:
    """Plans a span's retraining from the newest model that serves and is of an earlier span; nothing is written.

    Args:
        config: the schedule.
        run: the config of all spans' runs.
        span: newest day of the logs.
        first: see `planned`.

    Raises:
        MalTfError: see `planned`.
    """
    bases = [base for base in map(base_of, serving.versions(f"{config.root}/{SERVING}")) if base.span < span]
    base = bases[-1] if bases else None
    days, fresh = planned(config, run, span, base, first)
    configured = spans.configured(
        run,
        days,
        "drop" if config.immature == "wait" else "mark",
        config.missing_days,
        base and base.run,
        None if fresh else base.labels,
    )
    directory = f"{config.root}/{SPANS}/{span}"
    return Retraining(config, days, base, span if fresh else base.fit_span, Run(configured, directory))


def planned(
    config: RetrainConfig, run: RunConfig, span: datetime.date, base: Base | None, first: bool
) -> tuple[spans.Plan, bool]:
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
        MalTfError: there is no base, and `first` is not set; or the other way round.
    """
    now, end = datetime.datetime.now(datetime.timezone.utc), spans.midnight(span + datetime.timedelta(days=1))
    if now < end:
        raise Interrupted(
            f"span {span} ends at {end:%Y-%m-%d %H:%M}Z, and this machine's clock says {now:%Y-%m-%d %H:%M}Z: try later, "
            "or mend the clock"
        )
    if base is None and not first:
        raise MalTfError(
            f"{config.root}: no earlier span's model serves, so there is nothing to start from and to be judged against; "
            "a first run, whose model is held against floors alone, needs --first"
        )
    if base is not None and first:
        raise MalTfError(f"{base.version.path} serves the model of span {base.span}: leave out --first")
    skip = base is not None and config.after_refusal == "skip"
    left_out = _spoilt_days(config.root, base.span, span, config.immature == "wait") if skip else []
    days = spans.plan(
        span,
        config.first_day,
        spans.window_hours(run),
        context_days(config, run),
        base and base.trained_until,
        left_out,
        config.missing_days,
    )
    if not days.train:
        why = [f"the model that serves has been trained up to {base.trained_until}"] if base else []
        if left_out:
            why.append(f"left out for anomalies or refused candidates (after_refusal): {', '.join(map(str, left_out))}")
        raise Refused(f"span {span}: there is no new day to train on", why)
    return days, base is None or (span - base.fit_span).days >= config.fit_age_days or _fits_otherwise(run, base)


def _fits_otherwise(run: RunConfig, base: Base) -> bool:
    """Whether the base's fits can't be used: none are needed, or they were made for other settings."""
    if not run.attribution.data_driven:
        return True
    try:
        fits.read(base.labels, run.attribution, run.sources.tables().clicks.columns.touchpoint)
    except MalTfError as error:
        log.info("attribution is fitted anew: %s", error)
        return True
    return False


def _anomalies(directory: str) -> list[str] | None:
    """Anomalies of a span's data; None if it has not been checked."""
    checked = f"{directory}/{CHECKS}"
    return manifest.read(checked)["result"]["anomalies"] if files.exists(f"{checked}/{manifest.MANIFEST}") else None


def _spoilt_days(root: str, since: datetime.date, until: datetime.date, judged_alone: bool) -> list[datetime.date]:
    """Days between two spans that a refused candidate trained on, or whose clicks had anomalies.

    Args:
        root: of the schedule.
        since: span of the base.
        until: the span that is planned.
        judged_alone: whether the `eval` split is the day that judges and no more, so that its anomalies are that day's.
    """
    found = set()
    for span, directory in _earlier(root, until):
        if span <= since or not files.exists(f"{directory}/plan.json"):
            continue
        planned = json.loads(files.read_text(f"{directory}/plan.json"))
        if files.exists(f"{directory}/{BLESS}/{blessing.NOT_BLESSED}"):
            found |= set(planned["train"])
        for split, days in (("train", planned["train"]), ("eval", [planned["judge"]] if judged_alone else [])):
            found |= {
                day for day in days if any(line.startswith(f"{split} split") for line in _anomalies(directory) or [])
            }
    return sorted(map(datetime.date.fromisoformat, found))


def _earlier(root: str, span: datetime.date) -> list[tuple[datetime.date, str]]:
    """Spans before this one that have a directory, oldest first."""
    found = sorted(path.name for path in pathlib.Path(root, SPANS).glob("????-??-??"))
    return [
        (datetime.date.fromisoformat(name), f"{root}/{SPANS}/{name}")
        for name in found
        if datetime.date.fromisoformat(name) < span
    ]


def _report(labels: str) -> dict:
    return json.loads(files.read_text(f"{labels}/{REPORT}"))


def _made_from(directory: str) -> str:
    return manifest.read(directory)["made_from"]
