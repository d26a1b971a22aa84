"""The first step of the label job, which reads the logs into parcels of canonical rows by shard and finds their time range."""

import dataclasses
import datetime
import functools
import logging
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from features import table
from features.errors import BadInput
from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from mal_tf.attribution.shard import SOURCE_COLUMNS
from pipelines.config.labels import LabelsConfig
from pipelines.core.exchange import Exchange
from pipelines.labels import dead_letters
from pipelines.labels.clock import Clock
from pipelines.labels.sources import unconvertible
from pipelines.labels.sources.reader import Piece, RawBatch, column_names, has_rows, read
from pipelines.labels.sources.refiner import Refiner
from pipelines.labels.sources.tables import TableSource

#: Number of rows split into shards at a time; more rows make fewer, larger parcels.
_ROWS_SPLIT = 524_288

#: Seconds of reading between two log lines of progress.
_LOG_INTERVAL = 2.0

#: Largest number of segments; more are taken to be the effect of a stray timestamp.
_MAX_SEGMENTS = 1_000

log = logging.getLogger("mal_tf.labels")


@dataclasses.dataclass(frozen=True)
class Times:
    """Range of event times to read.

    Attributes:
        bounds: bounds of good rows; rows outside are bad.
        units_per_second: time units in a second.
        until: last time that is read; later events are counted and left out.
    """

    bounds: table.TimeBounds
    units_per_second: int
    until: int


class Read(beam.DoFn):
    """Reads pieces of files into parcels by shard, as elements (shard, (table, parcel)).

    Other outputs are `times`, pairs (earliest click, latest event); `dead`, bad rows; and `counts`.
    """

    def __init__(
        self,
        source: TableSource,
        columns: Mapping[str, str],
        times: Times,
        paths: Sequence[str],
        shards: int,
        exchange: Exchange,
    ):
        self._source, self._columns, self._times = source, dict(columns), times
        self._file = {path: number for number, path in enumerate(paths)}
        self._shards, self._exchange = shards, exchange

    def setup(self):
        """Loads the joined tables."""
        self._needed = table.required_columns(self._source.columns, self._columns)
        self._refiner = Refiner(self._source, self._needed)
        self._rows, self._seconds = 0, 0.0

    def check_header(self, path: str) -> None:
        """Checks that the headers of a file and of the joined tables have all required columns.

        JSON Lines have no header, so nothing is checked if one of the files is of that format, or the first one without rows.

        Raises:
            BadInput: a column is missing, or a file is damaged.
        """
        joined = (join.files for join in self._source.join)
        headers = [column_names(path, self._source), *map(column_names, joined)]
        columns = dict.fromkeys(column for header in headers for column in header)
        needed = table.required_columns(self._source.columns, self._columns)
        missing = [column for column in needed if column not in columns]
        if all(headers) and missing and has_rows(path):
            raise table.missing_column(missing[0], self._source.columns, path, columns)

    def process(self, piece: Piece) -> Iterator[Any]:
        """Reads a piece."""
        name, began = self._source.columns.TABLE, time.monotonic()
        self._mark = began
        waiting: list[pa.Table] = []
        for output in self.refined(piece):
            if not isinstance(output, pa.Table):
                if output.tag == "counts":
                    self._log_progress(output.value[name, "read"], piece.path)
                yield output
                continue
            waiting.append(output)
            if sum(part.num_rows for part in waiting) >= _ROWS_SPLIT:
                yield from self._split(waiting)
                waiting = []
        yield from self._split(waiting)
        yield TaggedOutput("counts", Counter({("microseconds", "read"): round((time.monotonic() - began) * 1e6)}))

    def _log_progress(self, rows: int, path: str) -> None:
        """Logs progress at intervals that do not depend on the number or size of pieces."""
        now = time.monotonic()
        self._rows, self._seconds, self._mark = self._rows + rows, self._seconds + now - self._mark, now
        if self._seconds < _LOG_INTERVAL:
            return
        rate = f"{self._rows / self._seconds:,.0f}"
        log.info("%s: read %s rows, up to %s (%s rows/s)", self._source.columns.TABLE, f"{self._rows:,}", path, rate)
        self._rows, self._seconds = 0, 0.0

    def refined(self, piece: Piece) -> Iterator[pa.Table | TaggedOutput]:
        """Yields batches of canonical rows with their file and row number, and elements of the other outputs."""
        for raw in read(piece, self._refiner.read_columns(self._needed), self._source):
            yield (yield from self._refine(raw, piece.path))

    def _refine(self, raw: RawBatch, path: str) -> Generator[Any, None, pa.Table]:
        """Returns the canonical rows of a batch with their file and row number; yields elements of the other outputs."""
        name, file = self._source.columns.TABLE, self._file[path]
        kept = self._refiner.where(raw, path)
        count: Counter = Counter({(name, "read"): raw.rows.num_rows + len(raw.malformed)})
        count[name, "filtered"] = raw.rows.num_rows - kept.rows.num_rows
        if raw.malformed:
            malformed, reasons, texts = map(list, zip(*raw.malformed, strict=True))
            yield dead_letters.letters(name, file, path, malformed, reasons, pd.DataFrame({"text": texts}))
        joined = self._refiner.join(kept.rows, path)
        every = functools.partial(column_names, path, self._source)
        bounds, units = self._times.bounds, self._times.units_per_second

        def normalise(rows: pa.RecordBatch) -> table.Normalised:
            return table.normalise(rows, self._source.columns, self._columns, bounds, units, path, every)

        try:
            normalised = normalise(joined)
        except pa.ArrowException as error:
            raise unconvertible.error(normalise, joined, kept.numbers, path, error) from error
        if normalised.bad_index.size:
            bad = kept.rows.take(pa.array(normalised.bad_index)).to_pandas()
            bad_numbers = kept.numbers[normalised.bad_index].tolist()
            yield dead_letters.letters(name, file, path, bad_numbers, normalised.reasons, bad)
        count.update({(name, "missing", *cell): rows for cell, rows in normalised.missing.items()})
        times = normalised.rows["timestamp"].to_numpy()
        observed = times <= self._times.until
        count[name, "after_observed_until"] = int((~observed).sum())
        if getattr(self._source.columns, "negative_value", "") == "refund":
            refund = observed & (normalised.rows["value"].fill_null(0.0).to_numpy() < 0)
            count[name, "refunds"] = int(refund.sum())
            observed &= ~refund
        days, events = np.unique(times[observed] // (SECONDS_PER_DAY * units), return_counts=True)
        count.update({(name, "day", int(day)): int(n) for day, n in zip(days, events, strict=True)})
        yield TaggedOutput("counts", count)
        if observed.any():
            earliest = int(times[observed].min()) if name == "clicks" else None
            yield TaggedOutput("times", (earliest, int(times[observed].max())))
        numbers = np.delete(kept.numbers, normalised.bad_index)
        columns = [*normalised.rows.columns, pa.array(np.full(numbers.size, file, np.int32)), pa.array(numbers)]
        rows = pa.Table.from_arrays(columns, [*normalised.rows.schema.names, *SOURCE_COLUMNS])
        return rows if observed.all() else rows.filter(pa.array(observed))

    def _split(self, waiting: list[pa.Table]) -> Iterator[Any]:
        filled = [part for part in waiting if part.num_rows]
        if not filled:
            return
        kinds = {str(part.schema.field(self._source.columns.ID).type) for part in filled}
        if len(kinds) > 1:
            raise_mixed_ids(self._source.columns.ID, kinds)
        rows = pa.concat_tables(filled).combine_chunks()
        for number, parcel in self._exchange.partition_by_user(rows, self._shards):
            yield number, (self._source.columns.TABLE, parcel)


def time_units(moment: datetime.datetime | None, units: int, default: int = 0) -> int:
    """Converts a moment to time units since 1970; None becomes `default`.

    Args:
        moment: moment with a time zone, or None.
        units: time units in a second.
        default: result for None.
    """
    return default if moment is None else round(moment.timestamp() * units)


def raise_mixed_ids(column: str, kinds: set[str]) -> None:
    """Raises the error for a column of ids with several types.

    Raises:
        BadInput: always.
    """
    raise BadInput(f"{column} is {' in some rows and '.join(sorted(kinds))} in others; expected a single type")


class TimeRange(beam.CombineFn):
    """Combines pairs (earliest click, latest event) into the `Clock` of the job.

    Args:
        labels: the `labels` block of the config.
        units: time units in a second.
    """

    def __init__(self, labels: LabelsConfig, units: int):
        self._labels, self._units = labels, units

    def create_accumulator(self):
        """See the base class."""
        return None, None

    def add_input(self, accumulator, pair):
        """See the base class."""
        return self.merge_accumulators([accumulator, pair])

    def merge_accumulators(self, pairs):
        """See the base class."""
        pairs = list(pairs)
        starts, ends = ([p[i] for p in pairs if p[i] is not None] for i in (0, 1))
        return min(starts, default=None), max(ends, default=None)

    def extract_output(self, pair) -> Clock:
        """Returns the clock.

        Raises:
            BadInput: the clicks span too many segments.
        """
        start, end = pair
        labels, units = self._labels, self._units
        eval_from = time_units(labels.eval_from, units)
        observed_until = time_units(labels.observed_until, units, eval_from if end is None else end)
        clock = Clock(
            start=time_units(labels.train_from, units, eval_from if start is None else start),
            eval_from=eval_from,
            eval_until=min(time_units(labels.eval_until, units, observed_until + 1), observed_until + 1),
            observed_until=observed_until,
            segment=round(labels.segment_hours * SECONDS_PER_HOUR * units),
            day=SECONDS_PER_DAY * units,
            without_days=tuple((day - table.EPOCH).days for day in labels.without_days),
        )
        segments = clock.segments()
        if sum(segments.values()) > _MAX_SEGMENTS:
            start = datetime.datetime.fromtimestamp(clock.start / units, datetime.timezone.utc)
            raise BadInput(
                f"the clicks span {sum(segments.values()):,} segments of labels.segment_hours, from {start:%Y-%m-%d %H:%M} UTC "
                "on. Check sources.time_unit and look for stray early timestamps; fix them, set labels.observed_from, or raise "
                "labels.segment_hours."
            )
        return clock
