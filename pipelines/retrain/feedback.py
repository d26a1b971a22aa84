"""Delayed feedback in a span: the measured delay of credit, which labels train, and which users judge.

A span's own day trains once on the labels known at its end, and again when its labels are final, with the weights of
`mal_tf.training.delayed_feedback`. Days that do not train at their end train once, when final. Days between the last span and
this one are among these: more is known of them by now than at their end, for which the delay is measured.

By the time a day's labels are final, both models that are to be judged on it have been trained on its early copies. A share of
the users (`RetrainConfig.judge_users`, always the same ones) is left out of these: their clicks train when final alone, the
day after they have judged, so neither model has seen them. What predicts before it trains, and is judged when labels are
final, would need no such users, but it is a model of a window ago that is judged in that way, not the candidate.
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
from pipelines.train.credit_delay import Copies, days_of, measure

#: The measured delay, in the stage's directory.
CURVE = "curve.json"

log = logging.getLogger("mal_tf.retrain")


def early_runs(root: str, days: Sequence[datetime.date]) -> dict[datetime.date, str]:
    """Run directories of the spans that ended with some days, by day, if they have labels and no anomaly.

    An incomplete log would look like one whose credit comes late.
    """
    directories = {day: f"{root}/{SPANS}/{day}" for day in days}
    labelled_runs = {day: run for day, run in directories.items() if files.exists(f"{run}/labels/{manifest.MANIFEST}")}
    return {day: run for day, run in labelled_runs.items() if not anomalies_of(run)}


def curve_of(run: str) -> DelayCurve | None:
    """The delay that a span's run has stored; None if it has not."""
    path = f"{run}/{DELAY}/{CURVE}"
    return DelayCurve.model_validate_json(files.read_text(path)) if files.exists(path) else None


def measured(
    before: DelayCurve | None, early: Mapping[datetime.date, str], plan: spans.SpanPlan, labels: str, config: RunConfig
) -> DelayCurve | None:
    """The delay known at the end of a span: the base's, and that of the days whose labels have become final.

    A day is left out, with a line in the log, if the labels of its end no longer exist or were made with another config.

    Args:
        before: the base's.
        early: `early_runs` of the days that train.
        plan: the span's days.
        labels: directory of its label job.
        config: of its run.
    """
    data, curve = labelled.load(labels, config.feature_spec), before
    for day, run in early.items():
        try:
            final = data.clicks_in(days_of(data.splits["train"], plan.train[0], [day]))
            own = _of_day(run, final, config)
        except MalTfError as error:
            log.info("the delay of %s is not measured: %s", day, error)
            continue
        curve = own if curve is None else curve.merged(own)
    return curve


def copies(
    curve: DelayCurve | None, plan: spans.SpanPlan, early: Sequence[datetime.date], config: RunConfig, waiting: float
) -> Copies | None:
    """What trains in place of the training split; None if the split trains, as the delay of a target is not known.

    Args:
        curve: the delay.
        plan: the span's days.
        early: days that the base has been trained on before their labels were final.
        config: of the run, its auxiliaries chosen.
        waiting: share of the users that judge.
    """
    if curve is None or not all(map(curve.measures, config.targets)):
        return None
    twice = (*(day for day in plan.train if day in early), *plan.fresh)
    units = config.sources.tables().units_per_second
    return Copies(plan.judge, plan.fresh, DelayedFeedback(curve, twice, units, waiting))


def _of_day(early: str, final: LabelledClicks, config: RunConfig) -> DelayCurve:
    """Measures a day.

    Args:
        early: directory of the run of the span that ended with it.
        final: the day's labels of the present label job.
        config: of the present run.
    """
    touchpoint = config.sources.tables().clicks.columns.touchpoint
    fitted = [fits.read(directory, config.attribution, touchpoint) for directory in (f"{early}/labels", final.place)]
    if not has_same_config(early, config, "attribution") or fitted[0] != fitted[1]:
        raise MalTfError(
            f"{early}/labels: expected labels of the attribution and the fit of {final.place}, found others"
        )
    newest = labelled.load(f"{early}/labels", config.feature_spec).clicks("eval").last(1)
    return measure(newest, final, config.attribution.names, config.sources.tables().units_per_second)
