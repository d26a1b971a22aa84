"""Delayed feedback in retraining: measures the delay of credit and selects the clicks that train early.

A span's own day trains once with the labels known at its end, and again when its labels are final, with the weights of
`mal_tf.training.delayed_feedback`. Days that do not train at their end train once, when their labels are final. These include
days between the last span and this one, of which more is known by now than at their end, the time that the delay is measured for.

By the time a day's labels are final, both models that are to be judged on it have been trained on its early labels. A fixed
share of the users (`RetrainConfig.judge_users`) is therefore left out of early training: their clicks train only when their
labels are final, the day after they have judged, so neither model was trained on them. Judging predictions made before
training would need no such users, but it would judge a model that is a window old, not the candidate.
"""

import datetime
import logging
from collections.abc import Mapping, Sequence

from features.errors import MalTfError
from mal_tf.training.delayed_feedback import DelayCurve, DelayedFeedback
from pipelines.clicks import labelled
from pipelines.clicks.labelled import LabelledClicks
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.provenance import has_same_config
from pipelines.labels import fits
from pipelines.retrain import spans
from pipelines.retrain.planning import DELAY, SPANS, anomalies_of
from pipelines.train.credit_delay import Copies, measure, select_days

#: Name of the file with the measured delay in the stage's directory.
CURVE = "curve.json"

log = logging.getLogger("mal_tf.retrain")


def early_runs(root: str, days: Sequence[datetime.date]) -> dict[datetime.date, str]:
    """Return the run directories of the spans that ended with some days, by day, if they have labels and no anomaly.

    Spans with anomalies are left out, as credit that an incomplete log lacks would look like late credit.
    """
    directories = {day: f"{root}/{SPANS}/{day}" for day in days}
    labelled_runs = {day: run for day, run in directories.items() if files.exists(f"{run}/labels/{manifest.MANIFEST}")}
    return {day: run for day, run in labelled_runs.items() if not anomalies_of(run)}


def read_curve(run: str) -> DelayCurve | None:
    """Return the delay curve that a span's run has stored; None if it has none."""
    path = f"{run}/{DELAY}/{CURVE}"
    return DelayCurve.model_validate_json(files.read_text(path)) if files.exists(path) else None


def merge_delay(
    before: DelayCurve | None, early: Mapping[datetime.date, str], plan: spans.SpanPlan, labels: str, config: RunConfig
) -> DelayCurve | None:
    """Merge the base's delay curve with the delay on the days whose labels have become final.

    A day is left out, with a log message, if its early labels no longer exist or were made with another config.

    Args:
        before: the base's delay curve.
        early: the `early_runs` of the days that train.
        plan: the span's days.
        labels: directory of the span's label job.
        config: the span's config.
    """
    data, curve = labelled.load(labels, config.feature_spec), before
    for day, run in early.items():
        try:
            final = data.clicks_in(select_days(data.splits["train"], plan.train[0], [day]))
            day_curve = _measure_day(run, final, config)
        except MalTfError as error:
            log.info("the delay of %s is not measured: %s", day, error)
            continue
        curve = day_curve if curve is None else curve.merged(day_curve)
    return curve


def copies(
    curve: DelayCurve | None, plan: spans.SpanPlan, early: Sequence[datetime.date], config: RunConfig, waiting: float
) -> Copies | None:
    """Return the clicks that train instead of the training split; None if a target's delay is not known and the split trains.

    Args:
        curve: the delay curve.
        plan: the span's days.
        early: days that the base was trained on before their labels were final.
        config: the run's config, with its auxiliaries chosen.
        waiting: share of the users that judge.
    """
    if curve is None or not all(map(curve.measures, config.targets)):
        return None
    twice = (*(day for day in plan.train if day in early), *plan.fresh)
    units = config.sources.tables().units_per_second
    return Copies(plan.judge, plan.fresh, DelayedFeedback(curve, twice, units, waiting))


def _measure_day(early: str, final: LabelledClicks, config: RunConfig) -> DelayCurve:
    """Measure the delay on one day.

    Args:
        early: directory of the run of the span that ended with the day.
        final: the day's clicks with final labels.
        config: the current run's config.
    """
    early_fits, final_fits = [
        fits.read(directory, config.attribution, config.sources.tables())
        for directory in (f"{early}/labels", final.place)
    ]
    if not has_same_config(early, config, "attribution") or early_fits != final_fits:
        raise MalTfError(
            f"{early}/labels: expected labels of the attribution and the fit of {final.place}, found others"
        )
    newest = labelled.load(f"{early}/labels", config.feature_spec).clicks("eval").last(1)
    return measure(newest, final, config.attribution.names, config.sources.tables().units_per_second)
