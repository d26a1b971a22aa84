"""Plans which days of a span train, calibrate and judge, and makes the config of the span's run."""

import dataclasses
import datetime
import math
from collections.abc import Sequence
from typing import Any

from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.core import files

#: Placeholder for a day, such as 2025-05-20, in the paths of the logs.
PLACEHOLDER = "{date}"

_ONE_DAY = datetime.timedelta(days=1)


class MissingLog(MalTfError):
    """A day's log does not exist, or not yet."""

    exit_code = 3


@dataclasses.dataclass(frozen=True)
class SpanPlan:
    """A span's days, all UTC.

    Attributes:
        span: the newest day of the logs.
        train: days whose clicks train, with final labels; empty if there is no new day.
        judge: day whose clicks the candidate and the serving model are judged on: the newest whose windows have all closed,
            on days with logs.
        logs: days whose logs are read. Those before `train` are context for journeys and histories.
        calibrate: days after `train` whose clicks fit the calibration; they train in the next span.
        left_out: days that must not train.
        fresh: days whose clicks may train with the labels known at the end of the span: with delayed feedback, its own day.
        spoilt: days after `judge` that are left out.
    """

    span: datetime.date
    train: tuple[datetime.date, ...]
    judge: datetime.date
    logs: tuple[datetime.date, ...]
    calibrate: tuple[datetime.date, ...] = ()
    left_out: tuple[datetime.date, ...] = ()
    fresh: tuple[datetime.date, ...] = ()
    spoilt: tuple[datetime.date, ...] = ()


@dataclasses.dataclass(frozen=True)
class Calendar:
    """The part of a schedule that determines a span's days.

    Attributes:
        first_day: first day of the logs.
        window_hours: longest attribution window.
        context_days: number of days that are read before the first that trains.
        missing: days without logs. They neither train nor judge, nor do the days before whose windows reach into them, as
            their conversions are not all known.
        held_out: number of the last days that could train, but fit the calibration instead.
        delayed: whether a span's own day may train before its windows close. Days after the judging one then train or have
            been trained on, so those of them that are left out are in no split, and do not judge later.
    """

    first_day: datetime.date
    window_hours: float
    context_days: int
    missing: Sequence[datetime.date] = ()
    held_out: int = 0
    delayed: bool = False

    def plan(
        self, span: datetime.date, trained_until: datetime.date | None, left_out: Sequence[datetime.date] = ()
    ) -> SpanPlan:
        """Plan the days of a span.

        Args:
            span: the newest day of the logs.
            trained_until: last day that the model to start from could be trained on; None without such a model.
            left_out: days that must not train.

        Raises:
            MalTfError: the logs are too short to train and to judge on.
        """
        window = datetime.timedelta(hours=self.window_hours)
        judge = (midnight(span + _ONE_DAY) - window).date() - _ONE_DAY
        reach = math.ceil(self.window_hours / 24)
        incomplete = {day for missing_day in self.missing for day in days(missing_day - reach * _ONE_DAY, missing_day)}
        while judge in incomplete or (self.delayed and judge in left_out):
            judge -= _ONE_DAY
        begin = self.first_day if trained_until is None else max(trained_until + _ONE_DAY, self.first_day)
        usable = tuple(day for day in days(begin, judge - _ONE_DAY) if day not in left_out and day not in incomplete)
        train, calibrate = usable[: max(len(usable) - self.held_out, 0)], usable[max(len(usable) - self.held_out, 0) :]
        if judge <= self.first_day + self.held_out * _ONE_DAY:
            closed = midnight(self.first_day + (2 + self.held_out) * _ONE_DAY) + window
            calibrated = f", {self.held_out} to be calibrated on" if self.held_out else ""
            raise MalTfError(
                f"span {span}: the logs begin on {self.first_day}, and a window is {self.window_hours:g} hours long: the first "
                f"span with a day to train on{calibrated} and a day to be judged on is "
                f"{(closed - datetime.timedelta(microseconds=1)).date()}"
            )
        context = max((train[0] if train else judge) - datetime.timedelta(days=self.context_days), self.first_day)
        fresh = (span,) if self.delayed and span not in incomplete else ()
        spoilt = tuple(
            day for day in days(judge + _ONE_DAY, span) if day in incomplete or (self.delayed and day in left_out)
        )
        return SpanPlan(span, train, judge, tuple(days(context, span)), calibrate, tuple(left_out), fresh, spoilt)


def facts_for_later(planned: SpanPlan) -> dict[str, Any]:
    """Return what later spans need to know of a plan, JSON-serializable.

    Returns:
        `trained_until`, the last day that the candidate could be trained on, and `left_out`, later days that must not train.
    """
    trained_until = (planned.calibrate[0] if planned.calibrate else planned.judge) - _ONE_DAY
    left_out = [str(day) for day in planned.left_out if day > trained_until]
    return {"trained_until": str(trained_until), "left_out": left_out}


def midnight(day: datetime.date) -> datetime.datetime:
    """Return the start of a day, UTC."""
    return datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc)


def days(first: datetime.date, last: datetime.date) -> list[datetime.date]:
    """Return all days from the first to the last, both included; none if the last is earlier."""
    return [first + number * _ONE_DAY for number in range((last - first).days + 1)]


def requested_spans(span: str, first: str, last: str, today: datetime.date | None = None) -> list[datetime.date]:
    """Return the spans that a command line asks for: one, by default yesterday's, or all from a first to a last.

    Raises:
        MalTfError: a value is not a date, or only one of the first and the last is given.
    """
    if (span and (first or last)) or bool(first) != bool(last):
        raise MalTfError("expected --span alone, or --from and --to together")
    if not (span or first):
        return [(today or datetime.datetime.now(datetime.timezone.utc).date()) - _ONE_DAY]
    begin, end = (_day(*flag) for flag in ([("--from", first), ("--to", last)] if first else [("--span", span)] * 2))
    if end < begin:
        raise MalTfError(f"--to {end} is before --from {begin}")
    return days(begin, end)


def _day(flag: str, text: str) -> datetime.date:
    try:
        day = datetime.datetime.strptime(text, "%Y-%m-%d").date()
        if not 1970 <= day.year < datetime.MAXYEAR:
            raise ValueError
    except ValueError as error:
        raise MalTfError(f"{flag}: expected a day such as 2025-05-20, found '{text}'") from error
    return day


def span_config(
    config: RunConfig,
    planned: SpanPlan,
    immature: str,
    missing: Sequence[datetime.date] = (),
    base: str | None = None,
    fit_from: str | None = None,
) -> RunConfig:
    """Make the config of a span's run.

    Args:
        config: the config that all spans' runs are derived from. `{date}` in the paths of its sources stands for each day
            that is read.
        planned: the span's days.
        immature: `drop`, or `mark` to also write the clicks after `planned.judge`, with `mature = 0`.
        missing: days that are known to have no logs.
        base: directory of the run whose model this one starts from. Its schema is used if `config` names none.
        fit_from: directory of the label job whose fits are used.

    Raises:
        MissingLog: the log of a day does not exist.
        MalTfError: the placeholder is not in a list of files.
    """
    data = config.model_dump(mode="json")
    read = [day for day in planned.logs if day not in missing]
    data["sources"] = _dated(data["sources"], read)
    first = planned.train[0] if planned.train else planned.judge - _ONE_DAY
    trained = (*planned.train, *planned.calibrate)
    left_out_days = [*(day for day in days(first, planned.judge - _ONE_DAY) if day not in trained), *planned.spoilt]
    data["labels"] |= {
        "train_from": midnight(first).isoformat(),
        "eval_from": midnight(planned.judge).isoformat(),
        "eval_until": midnight(planned.judge + _ONE_DAY).isoformat() if immature == "drop" else None,
        "without_days": [str(day) for day in left_out_days],
        "observed_until": None,
        "observed_before": midnight(planned.span + _ONE_DAY).isoformat(),
        "immature": immature,
        "segment_hours": 24,
        "grow_from": f"{base}/labels" if base else None,
        "vocabulary_of": "all" if planned.fresh else "train",
    }
    data["attribution"]["fit_from"] = fit_from
    if base and not config.validation.schema_file:
        from pipelines.validate.gate import SCHEMA

        data["validation"]["schema_file"] = f"{base}/validate/{SCHEMA}"
    # Without the keys of compared models.
    data["model"] = config.model.alone(config.model.name).model_dump(mode="json")
    data["training"]["warm_start"] = f"{base}/train/{config.model.name}" if base else None
    return RunConfig.model_validate(data)


def _dated(data: Any, read: Sequence[datetime.date]) -> Any:
    """Replace each path with the placeholder by one path per day."""
    if isinstance(data, dict):
        return {key: _dated(value, read) for key, value in data.items()}
    if not isinstance(data, list):
        if isinstance(data, str) and PLACEHOLDER in data:
            raise MalTfError(f"{data}: expected {PLACEHOLDER} only in lists of files, such as `files`")
        return data
    items = []
    for item in data:
        if not (isinstance(item, str) and PLACEHOLDER in item):
            items.append(_dated(item, read))
            continue
        for day in read:
            items.append(item.replace(PLACEHOLDER, day.isoformat()))
            if not files.matches(items[-1]):
                raise MissingLog(
                    f"no log of {day}: expected {items[-1]}. Provide it and run this span again, or, if there will never be "
                    f"one, add {day} to missing_days."
                )
    return items
