"""The first step of the label job, which reads the logs into parcels of canonical rows by shard and finds their time range."""

import dataclasses
import functools
import logging
import time
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from features import table
from features.feature import NUMBER_LISTS
from features.raw_times import NANOSECONDS, TimeFormat, finest_unit
from features.time_units import SECONDS_PER_DAY
from mal_tf.attribution.shard import SOURCE_COLUMNS
from pipelines.core.exchange import Exchange
from pipelines.labels import dead_letters
from pipelines.labels.sources import unconvertible
from pipelines.labels.sources.formats import Cells, Piece, RawBatch
from pipelines.labels.sources.reader import column_names, has_rows, read
from pipelines.labels.sources.refiner import Refiner
from pipelines.labels.sources.tables import TableSource
from pipelines.labels.time_range import Seen

#: Number of rows split into shards at a time; more rows make fewer, larger parcels.
_ROWS_SPLIT = 524_288

#: Seconds of reading between two log lines of progress.
_LOG_INTERVAL = 2.0

log = logging.getLogger("mal_tf.labels")


@dataclasses.dataclass(frozen=True)
class Times:
    """Range of event times to read, in nanoseconds since 1970, and how they are given.

    Attributes:
        bounds: bounds of good rows; rows outside are bad.
        given: how raw timestamps are read.
        until: last time that is read; later events are counted and left out.
    """

    bounds: table.TimeBounds
    given: TimeFormat
    until: int


class Read(beam.DoFn):
    """Reads pieces of files into parcels by shard, as elements (shard, (table, parcel)).

    Other outputs are `seen`, a `Seen` per batch; `dead`, bad rows; and `counts`.
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
        self._needed = table.required_columns(source.columns, columns)
        #: Columns that a file may lack if another has them, those of values, features and fallbacks for the user.
        self._optional = {*self._needed} - {*table.indispensable_columns(source.columns), *source.compared}
        self._file = {path: number for number, path in enumerate(paths)}
        self._shards, self._exchange = shards, exchange

    def setup(self):
        """Loads the joined tables."""
        self._lists = {column for column, dtype in self._columns.items() if dtype == NUMBER_LISTS}
        rounded = {column for column, dtype in self._columns.items() if dtype in ("float32", NUMBER_LISTS)}
        self._numbers = rounded - {*self.needed(exact=True)}
        self._refiner = Refiner(self._source, self._needed, self._lists)
        self._rows, self._seconds = 0, 0.0

    def check_headers(self, paths: Sequence[str]) -> None:
        """Checks that the headers of the first file and of the joined tables have all columns, but for those that a file may lack
        and another has.

        JSON Lines have no header, so nothing is checked if one of the files is of that format, or the first one without rows.

        Raises:
            BadInput: a column is missing, or a file is damaged.
        """
        path, joined = paths[0], (join.files for join in self._source.join)
        headers = [column_names(path, self._source), *map(column_names, joined)]
        columns = dict.fromkeys(column for header in headers for column in header)
        missing = [column for column in self._needed if column not in columns]
        if not (all(headers) and missing and has_rows(path, self._source)):
            return
        for other in reversed(paths[1:]):  # The newest is likely to have a newer column.
            if not (found := column_names(other, self._source)):
                return
            missing = [column for column in missing if column not in found or column not in self._optional]
            if not missing:
                return
        raise table.missing_column(missing[0], self._source.columns, path, columns)

    def _optional_cells(self) -> set[str]:
        """Columns whose cells a row can do without, those of values, features, fallbacks for the user and touchpoints."""
        roles = self._source.columns
        keys = [name for role, names in roles.text_roles.items() if role != "touchpoint" for name in names]
        return {*self._needed} - {*getattr(roles, roles.ID), *keys, roles.timestamp, *self._source.compared}

    def _with_newer(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with null in columns that this file lacks; that some file has them is checked where all have been read."""
        lacking = [column for column in self._needed if column in self._optional and column not in rows.schema.names]
        nulls = [pa.nulls(rows.num_rows) for _ in lacking]
        return pa.RecordBatch.from_arrays([*rows.columns, *nulls], [*rows.schema.names, *lacking]) if lacking else rows

    def needed(self, exact: bool = False) -> list[str]:
        """Returns the columns that the log must have before rows are joined or after, those of features only if not `exact`."""
        columns = table.required_columns(self._source.columns, {} if exact else self._columns)
        exploded = [] if self._source.explode is None else [self._source.explode]
        return list(dict.fromkeys([*columns, *exploded, *self._source.compared]))

    def process(self, piece: Piece) -> Iterator[Any]:
        """Reads a piece."""
        name, began = self._source.table, time.monotonic()
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
        log.info("%s: read %s rows, up to %s (%s rows/s)", self._source.table, f"{self._rows:,}", path, rate)
        self._rows, self._seconds = 0, 0.0

    def refined(self, piece: Piece) -> Iterator[pa.Table | TaggedOutput]:
        """Yields batches of canonical rows with their file and row number, and elements of the other outputs."""
        columns = self._refiner.read_columns(self._needed)
        cells = Cells(self._lists, self._numbers, self._optional_cells())
        for raw in read(piece, columns, self._source, cells, self._source.null_values):
            yield (yield from self._refine(raw, piece.path))

    def _refine(self, raw: RawBatch, path: str) -> Generator[Any, None, pa.Table]:
        """Returns the canonical rows of a batch with their file and row number; yields elements of the other outputs."""
        name, file = self._source.table, self._file[path]
        kept = self._refiner.where(raw, path)
        count: Counter = Counter({(name, "read"): raw.rows.num_rows + len(raw.malformed) + raw.empty})
        if self._source.explode is not None:
            count[name, "empty_lists"] = raw.empty
        count[name, "filtered"] = raw.rows.num_rows - kept.rows.num_rows
        if raw.malformed:
            malformed, reasons, texts = map(list, zip(*raw.malformed, strict=True))
            yield dead_letters.letters(name, file, path, malformed, reasons, pa.table({"text": texts}))
        joined = self._with_newer(self._refiner.join(kept, path))
        every = functools.partial(column_names, path, self._source)
        bounds, given = self._times.bounds, self._times.given

        def normalise(rows: pa.RecordBatch) -> table.Normalised:
            return table.normalise(rows, self._source.columns, self._columns, bounds, given, path, every)

        try:
            normalised = normalise(joined)
        except pa.ArrowException as error:
            raise unconvertible.error(normalise, joined, kept.numbers, path, error) from error
        if normalised.bad_index.size:
            bad = kept.rows.take(pa.array(normalised.bad_index))
            bad_numbers = kept.numbers[normalised.bad_index].tolist()
            yield dead_letters.letters(name, file, path, bad_numbers, normalised.reasons, bad)
        absent = {*self._needed} - raw.seen - {*self._refiner.joined}
        missing = _missing_cells(normalised, kept.unusable, absent)
        count.update({(name, "missing", *cell): rows for cell, rows in missing.items()})
        if self._source.columns.user_fallback:
            count[name, "user_fallback"] = normalised.fallbacks
        times = normalised.rows["timestamp"].to_numpy()
        observed = times <= self._times.until
        count[name, "after_observed_until"] = int((~observed).sum())
        if getattr(self._source.columns, "negative_value", "") == "refund":
            refund = observed & (normalised.rows["value"].fill_null(0.0).to_numpy() < 0)
            count[name, "refunds"] = int(refund.sum())
            observed &= ~refund
        days, events = np.unique(times[observed] // (SECONDS_PER_DAY * NANOSECONDS), return_counts=True)
        count.update({(name, "day", int(day)): int(n) for day, n in zip(days, events, strict=True)})
        yield TaggedOutput("counts", count)
        yield TaggedOutput("seen", self._seen(times[observed], raw.seen, path, normalised))
        numbers = np.delete(kept.numbers, normalised.bad_index)
        columns = [*normalised.rows.columns, pa.array(np.full(numbers.size, file, np.int32)), pa.array(numbers)]
        rows = pa.Table.from_arrays(columns, [*normalised.rows.schema.names, *SOURCE_COLUMNS])
        return rows if observed.all() else rows.filter(pa.array(observed))

    def _seen(self, times: np.ndarray, columns: frozenset[str], path: str, normalised: table.Normalised) -> Seen:
        name, units = self._source.table, self._times.given.units_per_second
        return Seen(
            int(times.min()) if name == "clicks" and times.size else None,
            int(times.max()) if name in ("clicks", "conversions") and times.size else None,
            finest_unit(times, units),
            frozenset((name, column) for column in (*columns, *self._refiner.joined)),
            path if normalised.zoned else "",
            path if normalised.zoneless else "",
            ((name, str(normalised.rows.schema.field(self._source.columns.ID).type), path),) if times.size else (),
        )

    def _split(self, waiting: list[pa.Table]) -> Iterator[Any]:
        filled = [part for part in waiting if part.num_rows]
        if not filled:
            return
        rows = pa.concat_tables(filled).combine_chunks()
        for number, parcel in self._exchange.partition_by_user(rows, self._shards):
            yield number, (self._source.table, parcel)


def _missing_cells(
    normalised: table.Normalised, unusable: Mapping[tuple[str, str], np.ndarray], absent: Collection[str]
) -> Counter:
    """Missing cells of good rows by (column, reason), with those that could not be read; not those of absent columns."""
    missing = Counter({cell: rows for cell, rows in normalised.missing.items() if cell[0] not in absent})
    for (column, reason), mask in unusable.items():
        missing[column, reason] = rows = int(np.delete(mask, normalised.bad_index).sum())
        if (column, table.VALUE_IS_NULL) in missing:  # They have been given to `normalise` as nulls.
            missing[column, table.VALUE_IS_NULL] -= rows
    return +missing
