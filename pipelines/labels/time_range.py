"""What reading the logs shows of all rows together: the range, unit and time zones of their times, and the columns there are."""

import datetime
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam

from features import table
from features.errors import BadInput
from features.raw_times import NANOSECONDS
from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR, UNIT_NAMES, since_epoch
from pipelines.config.labels import LabelsConfig
from pipelines.labels.clock import Clock
from pipelines.labels.sources.tables import SourceTables

#: More files than this per shard mean a stray timestamp, not a log.
_MAX_SEGMENTS = 1_000

log = logging.getLogger("mal_tf.labels")


class Seen(NamedTuple):
    """What a batch of rows shows.

    Attributes:
        earliest: time of the first click, in nanoseconds since 1970.
        latest: time of the last click or conversion.
        units_per_second: the coarsest unit in which all times are whole.
        columns: pairs of a table and a column that it has.
        zoned: a file with times that have a time zone; empty if there is none.
        zoneless: a file with dates and times of day without a zone.
        ids: (table, type of its ids, a file with such ids).
    """

    earliest: int | None = None
    latest: int | None = None
    units_per_second: int = 1
    columns: frozenset[tuple[str, str]] = frozenset()
    zoned: str = ""
    zoneless: str = ""
    ids: tuple[tuple[str, str, str], ...] = ()


class TimeRange(beam.CombineFn):
    """Combines what the batches show into the job's `Clock`.

    Args:
        labels: splits, maturity.
        sources: the tables.
        needed: columns that some file of a table must have, by table.
    """

    def __init__(self, labels: LabelsConfig, sources: SourceTables, needed: Mapping[str, Sequence[str]]):
        self._labels, self._sources, self._needed = labels, sources, needed

    def create_accumulator(self) -> Seen:
        """See base class."""
        return Seen()

    def add_input(self, accumulator: Seen, seen: Seen) -> Seen:
        """See base class."""
        return self.merge_accumulators([accumulator, seen])

    def merge_accumulators(self, accumulators: Iterable[Seen]) -> Seen:
        """See base class."""
        parts = list(accumulators)
        return Seen(
            min((part.earliest for part in parts if part.earliest is not None), default=None),
            max((part.latest for part in parts if part.latest is not None), default=None),
            max((part.units_per_second for part in parts), default=1),
            frozenset().union(*(part.columns for part in parts)),
            min((part.zoned for part in parts if part.zoned), default=""),
            min((part.zoneless for part in parts if part.zoneless), default=""),
            _first_of_each_type(part.ids for part in parts),
        )

    def extract_output(self, accumulator: Seen) -> Clock:
        """Returns the clock.

        Raises:
            BadInput: no line of the JSON Lines files of a table has a column; some times have a time zone and others have
                none; the ids of a table have two types; or the clicks span too many segments.
        """
        self._check_columns(accumulator)
        self._check_ids(accumulator)
        self._check_zones(accumulator)
        units = max(accumulator.units_per_second, self._sources.units_per_second)
        if units > self._sources.units_per_second:
            log.info(
                "times are finer than sources.time_unit = %s: the job compares them in %s",
                self._sources.time_unit,
                UNIT_NAMES[units],
            )
        return self._clock(accumulator, units)

    def _check_columns(self, seen: Seen) -> None:
        for name, needed in self._needed.items():
            found = sorted(column for of, column in seen.columns if of == name)
            if found and (missing := [column for column in needed if column not in found]):
                source = self._sources.by_table[name]
                raise table.missing_column(missing[0], source.columns, ", ".join(source.files), found)

    def _check_ids(self, seen: Seen) -> None:
        for name, source in self._sources.by_table.items():
            files = [f"{kind} in {path}" for of, kind, path in seen.ids if of == name]
            if len(files) > 1:
                raise BadInput(
                    f"{source.columns.ID} is {' and '.join(files)}; expected a single type. Write the ids of one of them again "
                    "as those of the other; in CSV and JSON Lines, ids are text (string)."
                )

    def _check_zones(self, seen: Seen) -> None:
        if self._sources.time_zone is not None or not seen.zoneless:
            return
        if seen.zoned:
            raise BadInput(
                f"{seen.zoneless} has times without a time zone, and {seen.zoned} has times with one: state the zone of the "
                "former as sources.time_zone, such as UTC or Europe/Berlin"
            )
        log.warning("%s has times without a time zone, taken as UTC; sources.time_zone states another", seen.zoneless)

    def _clock(self, seen: Seen, units: int) -> Clock:
        labels, start, end = self._labels, seen.earliest, seen.latest

        def first(moment: datetime.datetime | None, default: int) -> int:
            return default if moment is None else since_epoch(moment, units, up=True)

        eval_from = since_epoch(labels.eval_from, units, up=True)
        last = eval_from if end is None else end * units // NANOSECONDS
        observed_until = last if (given := labels.last_observed(units)) is None else given
        clock = Clock(
            start=first(labels.train_from, eval_from if start is None else start * units // NANOSECONDS),
            eval_from=eval_from,
            eval_until=min(first(labels.eval_until, observed_until + 1), observed_until + 1),
            observed_until=observed_until,
            segment=round(labels.segment_hours * SECONDS_PER_HOUR * units),
            day=SECONDS_PER_DAY * units,
            without_days=tuple((day - table.EPOCH).days for day in labels.without_days),
            units_per_second=units,
        )
        segments = clock.segments()
        if sum(segments.values()) > _MAX_SEGMENTS:
            began = datetime.datetime.fromtimestamp(clock.start / units, datetime.timezone.utc)
            raise BadInput(
                f"the clicks span {sum(segments.values()):,} segments of labels.segment_hours, from {began:%Y-%m-%d %H:%M} UTC "
                "on. Check sources.time_unit and look for stray early timestamps; fix them, set labels.observed_from, or raise "
                "labels.segment_hours."
            )
        return clock


def _first_of_each_type(parts: Iterable[tuple[tuple[str, str, str], ...]]) -> tuple[tuple[str, str, str], ...]:
    """The first file of each table and type of ids."""
    first: dict[tuple[str, str], str] = {}
    for table_, kind, path in itertools.chain(*parts):
        first[table_, kind] = min(path, first.get((table_, kind), path))
    return tuple(sorted((*key, path) for key, path in first.items()))
