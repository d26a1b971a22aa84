"""Builds journeys from users' events, with each conversion's credits, by the label job's own code."""

import dataclasses
import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import example, table
from features.arrays import flatten_ranges
from mal_tf.attribution import labelling
from mal_tf.attribution.journeys import Journeys, Spans
from mal_tf.attribution.labelling import LabelPlan
from mal_tf.attribution.mechanism import checked_credit
from mal_tf.attribution.shard import GROUP, Shard
from mal_tf.attribution.touches import Touches
from pipelines.labels.clock import Clock

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclasses.dataclass(frozen=True)
class Click:
    """A click of a journey.

    Attributes:
        click_id: the id in the log.
        timestamp: time of the click, UTC.
        touchpoint: the touchpoint type, before rare types are merged.
        label: label by mechanism, in configured order.
        credit: credit by mechanism, the sum over conversions, which the label caps at 1.
        cvr: predicted conversion rate by model.
    """

    click_id: str | int
    timestamp: datetime.datetime
    touchpoint: str
    label: dict[str, float]
    credit: dict[str, float]
    cvr: dict[str, float]


@dataclasses.dataclass(frozen=True)
class ContextTouch:
    """A touch of a journey that takes credit and has no label, such as a view.

    Attributes:
        kind: name of the kind of touch.
        touch_id: the id in the log.
        timestamp: time of the touch, UTC.
        touchpoint: the touchpoint type, before rare types are merged.
    """

    kind: str
    touch_id: str | int
    timestamp: datetime.datetime
    touchpoint: str


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A conversion of a journey.

    Attributes:
        conversion_id: the id in the log.
        timestamp: time of the conversion, UTC.
        value: the conversion's value; 1 if the log has no values, None if this one is missing.
        credit: credit by mechanism, for each click of the journey; None if the click is not eligible.
        context_credit: the same for each context touch of the journey.
    """

    conversion_id: str | int
    timestamp: datetime.datetime
    value: float | None
    credit: dict[str, tuple[float | None, ...]]
    context_credit: dict[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Journey:
    """Neighbouring clicks of one user and match key, and the conversions that they could have led to.

    Attributes:
        user_id: the user.
        match_key: the match key, a part for each of its columns.
        clicks: clicks in the order of time and id.
        conversions: conversions in the order of time and id.
        context: context touches that are eligible for any of the conversions, in the order of time.
    """

    user_id: str
    match_key: tuple[str, ...]
    clicks: tuple[Click, ...]
    conversions: tuple[Conversion, ...]
    context: tuple[ContextTouch, ...] = ()


@dataclasses.dataclass(frozen=True)
class Attributed:
    """All events of some users, with their labels and journeys.

    Attributes:
        events: the events, sorted and without duplicates.
        plan: how they are labelled, with fitted mechanisms.
        types: touchpoint types that are not merged into the rare one.
        clock: the label job's clock.
        match_columns: number of columns that the match key is made of.
    """

    events: Shard
    plan: LabelPlan
    types: Sequence[str]
    clock: Clock
    match_columns: int

    @functools.cached_property
    def labelled(self) -> pa.Table:
        """The clicks as the label job labels them, including those in no split."""
        return labelling.label(self.events, self.plan, self.types, self.clock.observed_until)[0].combine_chunks()

    @functools.cached_property
    def _spans(self) -> list[tuple[list[str], Spans]]:
        rules = labelling.by_rules(self.plan, self.plan.mechanisms)
        return [(names, labelling.shard_converting_spans(self.events, rule)) for rule, names in rules if names]

    @functools.cached_property
    def _touches(self) -> Touches:
        return labelling.shard_touches(self.events, self.plan, self.types)

    @functools.cached_property
    def linked(self) -> tuple[np.ndarray, np.ndarray]:
        """Begin and end, int64 [clicks], of the clicks that share conversions with each click, directly or through others."""
        start, length = (np.concatenate([getattr(s, key) for _, s in self._spans]) for key in ("start", "length"))
        order = np.argsort(start[length > 0], kind="stable")
        start, stop = start[length > 0][order], (start + length)[length > 0][order]
        reached = np.maximum.accumulate(stop)
        opens = np.ones(start.size, bool)
        opens[1:] = start[1:] >= reached[:-1]
        first = np.flatnonzero(opens)
        begin, end = start[first], reached[np.append(first[1:], start.size)[: first.size] - 1]
        begins = np.arange(self.events.clicks.num_rows)
        ends = begins + 1
        _, index = flatten_ranges(begin, end - begin)
        begins[index], ends[index] = np.repeat(begin, end - begin), np.repeat(end, end - begin)
        return begins, ends

    def position(self, user_id: str, click_id: str) -> int | None:
        """Return the position of a click among the events; None if it is not there."""
        clicks = self.events.clicks
        same = pc.and_(pc.equal(clicks["user_id"], user_id), pc.equal(clicks["click_id"].cast(pa.string()), click_id))
        places = np.flatnonzero(same)
        return int(places[0]) if places.size else None

    def around(self, click: int, neighbours: int, most: int) -> tuple[int, int]:
        """Return begin and end of the clicks that are linked with one, and of some neighbours of the same user and match key.

        Args:
            click: position of the click.
            neighbours: number of neighbours on each side of the linked clicks.
            most: largest number of clicks on each side of `click`.
        """
        group = self.events.clicks[GROUP].to_numpy()
        first, last = (int(np.searchsorted(group, group[click], side)) for side in ("left", "right"))
        begin, end = (int(bound[click]) for bound in self.linked)
        return max(begin - neighbours, first, click - most), min(end + neighbours, last, click + most + 1)

    def records(self, begin: int, end: int) -> list[bytes]:
        """Return the serialized tf.Examples of the clicks, as the label job writes them."""
        (batch,) = self.plan.in_file_units(self.labelled.slice(begin, end - begin)).combine_chunks().to_batches()
        return example.encode(example.to_lists(batch))

    def journey(
        self, begin: int, end: int, cvr: Mapping[str, Sequence[float] | np.ndarray] | None = None, further: int = 0
    ) -> Journey:
        """Build the journey of neighbouring clicks of one user and match key.

        Args:
            begin: position of the first click.
            end: position after the last click.
            cvr: predictions for the clicks, by model.
            further: number of conversions to add after those that any of the clicks may have led to.
        """
        clicks = self.events.clicks.slice(begin, end - begin)
        columns = ("click_id", "timestamp", "touchpoint", "user_id", "match_key")
        ids, times, touchpoints, users, keys = (clicks[name].to_pylist() for name in columns)
        label, credit = (self._by_mechanism(kind, begin, end) for kind in ("label", "credit"))
        predicted = {name: np.asarray(values).tolist() for name, values in (cvr or {}).items()}
        journey_clicks = [
            Click(ids[i], self.moment(times[i]), touchpoints[i], _at(label, i), _at(credit, i), _at(predicted, i))
            for i in range(end - begin)
        ]
        conversions, context = self._conversions(begin, end, further)
        key = table.parts(keys[0], self.match_columns)
        return Journey(users[0], key, tuple(journey_clicks), tuple(conversions), tuple(context))

    def moment(self, time: int) -> datetime.datetime:
        """Convert a time in the logs' unit to a datetime, UTC."""
        return _EPOCH + datetime.timedelta(microseconds=time * 1_000_000 // self.plan.units_per_second)

    def _by_mechanism(self, kind: str, begin: int, end: int) -> dict[str, list[float]]:
        rows = self.labelled.slice(begin, end - begin)
        return {name: rows[f"{kind}_{name}"].to_pylist() for name in self.plan.mechanisms}

    def _conversions(self, begin: int, end: int, further: int) -> tuple[list[Conversion], list[ContextTouch]]:
        """Return the conversions of the user and match key from the first click to the end of the last click's window, and
        the context touches that are eligible for them.
        """
        group, time = self.events.clicks[GROUP].to_numpy()[begin], self.events.click_time
        every = self.events.conversion_events
        first, last = (int(np.searchsorted(every.group, group, side)) for side in ("left", "right"))
        times, latest = every.time[first:last], time[end - 1] + self.plan.maturity
        start = first + int(np.searchsorted(times, time[begin], "left"))
        stop = min(first + int(np.searchsorted(times, latest, "right")) + further, last)
        clicks, context = self.events.clicks.num_rows, self._eligible_context(start, stop)
        shown = np.append(np.arange(begin, end), context)
        credit = self._credits(shown, start, stop)
        rows = self.events.conversions.slice(start, stop - start)
        ids, times, values = (rows[name].to_pylist() for name in ("conversion_id", "timestamp", "value"))
        conversions = [
            Conversion(
                ids[j],
                self.moment(times[j]),
                values[j],
                {name: _or_none(credits[j, : end - begin]) for name, credits in credit.items()},
                {name: _or_none(credits[j, end - begin :]) for name, credits in credit.items()} if context.size else {},
            )
            for j in range(stop - start)
        ]
        return conversions, [self._context_touch(touch - clicks) for touch in context.tolist()]

    def _eligible_context(self, start: int, stop: int) -> np.ndarray:
        """Return the positions of the context touches that are eligible for any of the conversions, in the order of time."""
        kinds, places = self._touches.kinds, [np.zeros(0, np.int64)]
        if kinds is None:
            return places[0]
        for _, spans in self._spans:
            for block in self._blocks(spans, start, stop):
                places.append(np.unique(block.click[block.click >= self.events.clicks.num_rows]))
        context = np.unique(np.concatenate(places))
        return context[np.argsort(kinds.rank[context])]

    def _context_touch(self, place: int) -> ContextTouch:
        """Return the context touch at a place among those of all kinds."""
        for kind, rows in zip(self.plan.context, self.events.context, strict=True):
            if place < rows.num_rows:
                (row,) = rows.slice(place, 1).to_pylist()
                return ContextTouch(kind, row["touch_id"], self.moment(row["timestamp"]), row["touchpoint"])
            place -= rows.num_rows
        raise IndexError(place)

    def _blocks(self, spans: Spans, start: int, stop: int) -> Iterator[Journeys]:
        return spans.select(slice(start, stop)).blocks(self._touches)

    def _credits(self, touches: np.ndarray, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return credits by mechanism, float [conversions, touches]; NaN if a touch is not eligible for a conversion."""
        credit = {name: np.full((stop - start, touches.size), np.nan) for name in self.plan.mechanisms}
        order = np.argsort(touches)
        for names, spans in self._spans:
            done = 0
            for block in self._blocks(spans, start, stop):
                place = order[np.minimum(np.searchsorted(touches[order], block.click), touches.size - 1)]
                shown = touches[place] == block.click
                cells = done + block.owner[shown], place[shown]
                for name in names:
                    credit[name][cells] = checked_credit(name, self.plan.mechanisms[name], block)[shown]
                done += len(block)
        return credit


def _at(values: Mapping[str, list[float]], index: int) -> dict[str, float]:
    return {name: column[index] for name, column in values.items()}


def _or_none(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else value for value in values.tolist())
