"""Explains one click: its journey, each mechanism's credits, its labels and features, and the models' predictions."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from features import raw_columns
from features.errors import MalTfError
from features.keras2 import tf
from features.raw_times import NANOSECONDS
from features.time_units import SECONDS_PER_HOUR
from mal_tf.attribution.mechanism import mechanism_errors
from mal_tf.serving.exports import Exports
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.core import files, manifest
from pipelines.core.exchange import Exchange
from pipelines.explain import labelled_clicks, logs
from pipelines.explain.journey import Attributed, Journey
from pipelines.explain.labelled_clicks import LabelledClick
from pipelines.explain.logs import Advance, silent
from pipelines.labels import fits
from pipelines.labels import run as labels
from pipelines.labels.job import LabelJob

#: Number of further clicks, of the same user and match key, that are shown on each side of those that share conversions
#: with the explained click.
_NEIGHBOURS = 3

#: Largest number of clicks that are shown on each side of the explained click.
_MAX_PER_SIDE = 25

#: Maps serialized tf.Examples to predictions by model.
Predict = Callable[[list[bytes]], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The explanation of one click.

    Attributes:
        journey: the clicks around it, the conversions that they may have led to, and the next conversion.
        place: index of the click in the journey.
        split: `train` or `eval`; None if the click is in neither.
        why_not: why the click is in no split; empty if it is in one.
        mature: whether its window had closed by the end of the logs.
        closes: end of its window, the longest of all mechanisms, UTC.
        windows: attribution window in hours, by mechanism.
        path_length: number of touches of the longest path to a conversion that the click is part of, by the common window.
        cat: the CAT label.
        features: values of the features, by name.
        differs: columns whose value in the label files differs from the one that the logs give now.
        changed: whether logs or config have changed since the labels were made.
    """

    journey: Journey
    place: int
    split: str | None
    why_not: str
    mature: bool
    closes: datetime.datetime
    windows: dict[str, float]
    path_length: int
    cat: int
    features: dict[str, Any]
    differs: list[str]
    changed: bool


def explain(
    config: RunConfig,
    directory: str,
    click_id: str,
    user_id: str = "",
    versions: Mapping[str, str] | None = None,
    advance: Advance = silent,
) -> Explanation:
    """Explain a click. Nothing is fitted or written.

    Args:
        config: the run's config.
        directory: directory of the finished label job.
        click_id: the click's id as text.
        user_id: the click's user, required if several users have a click with this id.
        versions: directory of the SavedModel by model name.
        advance: called with the number of rows read since the last call.

    Raises:
        MalTfError: there is no such click, or it was not labelled; or the source has no logs; or the labels were made with
            another config.
    """
    label_manifest = manifest.read(directory, "a finished label job")
    job = read_job(config, directory)
    labelled_records = labelled_clicks.find(labelled.load(directory, config.feature_spec), click_id, advance)
    users = {one.user_id for one in labelled_records}
    if not users or user_id not in users | {""}:
        users |= _users_in_log(job, directory, click_id, advance)
    if user_id:
        users &= {user_id}
    if len(users) != 1:
        raise MalTfError(_user_error(click_id, user_id, sorted(users)))
    (user,) = users
    record = next((one for one in labelled_records if one.user_id == user), None)
    events = attribute_users(job, directory, config, [user], advance)
    place = events.position(user, click_id)
    if place is None:
        raise MalTfError(
            f"click '{click_id}' of user '{user}' is in {directory}, but no longer in the click log: the logs or the "
            "config's `sources` have changed since"
            if record
            else f"click '{click_id}' was not labelled: it is later than labels.observed_until, "
            f"{events.moment(events.clock.observed_until):%Y-%m-%d %H:%M} UTC"
        )
    predict = predictor(versions or {})
    return _explained(events, place, predict, record, label_manifest["made_from"] != job.made_from)


def read_job(config: RunConfig, directory: str) -> LabelJob:
    """Return the label job that wrote a finished directory, to read its logs as it did.

    Raises:
        MalTfError: the source has ready-made labels, or an input is missing.
    """
    if config.ready_made:
        raise MalTfError(
            f"adapter '{config.sources.adapter}' has ready-made labels: without clicks' times, match keys and conversions "
            "there is no journey to explain"
        )
    job = labels.label_job(config, directory, Exchange())
    # Events that were in the future when the labels were made still count as such.
    now = int(files.modified(f"{directory}/{manifest.MANIFEST}") * NANOSECONDS)
    return dataclasses.replace(job, now=now)


def attribute_users(
    job: LabelJob, directory: str, config: RunConfig, users: Sequence[str], advance: Advance = silent
) -> Attributed:
    """Read and label all events of some users, with the mechanisms as the label job fitted them.

    Raises:
        MalTfError: the fits were made with another config, or the logs can't be read.
    """
    columns, plan = job.sources.clicks.columns, job.plan()
    fitted, types = fits.read(directory, config.attribution, job.sources)
    for name, fit in fitted.items():
        with mechanism_errors(name, "load"):
            plan.data_driven[name].load(fit)
    events, clock = logs.read_events(job, users, advance)
    return Attributed(events, plan.in_units(clock.units_per_second), types, clock, len(columns.match_key))


def predictor(versions: Mapping[str, str]) -> Predict:
    """Load exported models and return a function from serialized tf.Examples to predictions by model."""
    exports = Exports(versions)
    return lambda records: exports.predict(tf.constant(records, tf.string), "the journey's clicks")


def _users_in_log(job: LabelJob, directory: str, click_id: str, advance: Advance) -> set[str]:
    in_log = logs.look_up(job, click_id, advance)
    if not in_log.users and in_log.bad:
        letter = in_log.bad[0]
        raise MalTfError(
            f"click '{click_id}' was not labelled: {letter['reason']}, in row {letter['row']:,} of {letter['file']} "
            f"({directory}/dead_letter/)"
        )
    if not in_log.users:
        columns = raw_columns.ROLE_SEPARATOR.join(job.sources.clicks.columns.click_id)
        raise MalTfError(
            f"no click '{click_id}' in {directory} or in the click log. An id is made of {columns}, such as "
            f"'{in_log.example}'; note that `where` in the config's `sources` leaves out other rows"
        )
    return set(in_log.users)


def _user_error(click_id: str, user_id: str, users: list[str]) -> str:
    if not users:
        return f"user '{user_id}' has no click '{click_id}'; leave out --user to see which user has"
    shown = ", ".join(users[:5]) + (", …" if len(users) > 5 else "")
    return f"{len(users)} users have a click '{click_id}', as ids are unique within a user only: {shown}. Add --user"


def _explained(
    events: Attributed, place: int, predict: Predict, record: LabelledClick | None, changed: bool
) -> Explanation:
    begin, end = events.around(place, _NEIGHBOURS, _MAX_PER_SIDE)
    records = events.records(begin, end)
    row = events.labelled.slice(place, 1).to_pylist()[0]
    time, plan = row["timestamp"], events.plan
    why_not = "" if record else _why_not(events, time, bool(row["mature"]))
    return Explanation(
        journey=events.journey(begin, end, predict(records), further=1),
        place=place - begin,
        split=record.split if record else None,
        why_not=why_not,
        mature=bool(row["mature"]),
        closes=events.moment(time + plan.maturity),
        windows={name: plan.rules[name].window / plan.units_per_second / SECONDS_PER_HOUR for name in plan.mechanisms},
        path_length=row["path_length"],
        cat=row["label_cat"],
        features={feature.name: row[feature.name] for feature in plan.spec.features},
        differs=labelled_clicks.differing(records[place - begin], record.record) if record else [],
        changed=changed,
    )


def _why_not(events: Attributed, time: int, mature: bool) -> str:
    clock = events.clock
    if time < clock.start:
        return f"context: before labels.train_from, {events.moment(clock.start):%Y-%m-%d %H:%M}"
    if time >= clock.eval_until:
        return f"context: not before labels.eval_until, {events.moment(clock.eval_until):%Y-%m-%d %H:%M}"
    if time // clock.day in clock.without_days:
        return "context: its day is one of labels.without_days"
    if not mature:
        return f"immature: its window ends after the logs, {events.moment(clock.observed_until):%Y-%m-%d %H:%M}, and was dropped"
    return "not in the label files, although it should be: the logs or the config have changed since"
