"""`mal-tf explain`: one click, its journey, what each mechanism gives it and why, and what the models predict."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from features import raw_columns
from features.errors import MalTfError
from features.keras2 import tf
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

#: Clicks of the same user and match key that are shown on each side of those that share conversions with the click.
_NEIGHBOURS = 3

#: Clicks on each side of the click, at most.
_MOST = 25

#: Serialized tf.Examples to predictions by model.
Predict = Callable[[list[bytes]], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """All about one click.

    Attributes:
        journey: the clicks around it, with the conversions that they may have led to and the next.
        place: of the click in the journey.
        split: `train` or `eval`; None where it is in neither.
        why_not: why it is in no split's files; empty where it is.
        mature: whether its window had passed when the logs ended.
        closes: when its window ends, the longest of all mechanisms.
        windows: hours, by mechanism.
        path_length: clicks of the longest journey to a conversion that it is part of, by the common window.
        cat: CAT label.
        features: by name.
        differs: columns in which the label files have another value than what the logs say now.
        changed: whether logs or config changed since the labels were made.
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
    """Explains a click: nothing is fitted or written.

    Args:
        config: the run.
        directory: of the finished label job.
        click_id: as text.
        user_id: whose click; needed where several users have one of this id.
        versions: directory of the SavedModel by model name.
        advance: called with the number of rows read since the last call.

    Raises:
        MalTfError: there is no such click, or no usable one; the source has no logs; the labels were made by another config.
    """
    stated = manifest.read(directory, "a finished label job")
    job = read_job(config, directory)
    written = labelled_clicks.find(labelled.load(directory, config.feature_spec), click_id, advance)
    users = {one.user_id for one in written}
    if not users or user_id not in users | {""}:
        users |= _users_in_log(job, directory, click_id, advance)
    if user_id:
        users &= {user_id}
    if len(users) != 1:
        raise MalTfError(_which(click_id, user_id, sorted(users)))
    (user,) = users
    record = next((one for one in written if one.user_id == user), None)
    events = attributed(job, directory, config, [user], advance)
    place = events.position(user, click_id)
    if place is None:
        raise MalTfError(
            f"click '{click_id}' of user '{user}' is in {directory}, but no more in the click log: the logs or the "
            "config's `sources` changed since"
            if record
            else f"click '{click_id}' was not labelled: it is later than labels.observed_until, "
            f"{events.moment(events.clock.observed_until):%Y-%m-%d %H:%M} UTC"
        )
    predict = predictor(versions or {})
    return _explained(events, place, predict, record, stated["made_from"] != job.made_from)


def read_job(config: RunConfig, directory: str) -> LabelJob:
    """The label job of a finished directory, for reading its logs as it did.

    Raises:
        MalTfError: the labels came with the source; an input is missing.
    """
    if config.ready_made:
        raise MalTfError(
            f"adapter '{config.sources.adapter}' has ready-made labels: without clicks' times, match keys and conversions "
            "there is no journey to explain"
        )
    job = labels.label_job(config, directory, Exchange())
    # What was in the future when the labels were made is so still.
    now = int(files.modified(f"{directory}/{manifest.MANIFEST}") * job.sources.units_per_second)
    return dataclasses.replace(job, now=now)


def attributed(
    job: LabelJob, directory: str, config: RunConfig, users: Sequence[str], advance: Advance = silent
) -> Attributed:
    """All events of some users, with the mechanisms as they were fitted.

    Raises:
        MalTfError: the fits were made for another config; the logs can't be read.
    """
    columns, plan = job.sources.clicks.columns, job.plan()
    fitted, types = fits.read(directory, config.attribution, columns.touchpoint)
    for name, fit in fitted.items():
        with mechanism_errors(name, "load"):
            plan.data_driven[name].load(fit)
    events, clock = logs.events_of(job, users, advance)
    return Attributed(events, plan, types, clock, len(columns.match_key))


def predictor(versions: Mapping[str, str]) -> Predict:
    """Loads exported models, by name; gives their predictions of serialized tf.Examples."""
    exports = Exports(versions)
    return lambda records: exports.predict(tf.constant(records, tf.string), "the journey's clicks")


def _users_in_log(job: LabelJob, directory: str, click_id: str, advance: Advance) -> set[str]:
    in_log = logs.look_up(job, click_id, advance)
    if not in_log.users and in_log.bad:
        one = in_log.bad[0]
        raise MalTfError(
            f"click '{click_id}' was not labelled: {one['reason']}, in row {one['row']:,} of {one['file']} "
            f"({directory}/dead_letter/)"
        )
    if not in_log.users:
        columns = raw_columns.ROLE_SEPARATOR.join(job.sources.clicks.columns.click_id)
        raise MalTfError(
            f"no click '{click_id}' in {directory}, nor in the click log. An id is made of {columns}, such as "
            f"'{in_log.example}'; mind that `where` of the config's `sources` leaves out other rows"
        )
    return set(in_log.users)


def _which(click_id: str, user_id: str, users: list[str]) -> str:
    if not users:
        return f"click '{click_id}' is not user '{user_id}''s; leave out --user to see whose it is"
    shown = ", ".join(users[:5]) + (", …" if len(users) > 5 else "")
    return f"click '{click_id}' is of {len(users)} users, as ids are unique within a user alone: {shown}. Add --user"


def _explained(
    events: Attributed, place: int, predict: Predict, record: LabelledClick | None, changed: bool
) -> Explanation:
    begin, end = events.around(place, _NEIGHBOURS, _MOST)
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
    return "not in the label files, although it should be: the logs or the config changed since"
