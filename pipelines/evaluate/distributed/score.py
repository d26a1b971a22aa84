"""The first step of the evaluation job, which scores label files and partitions their clicks into shards of users."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from mal_tf.serving import OUTPUT
from mal_tf.serving.exports import Exports
from pipelines.clicks.labelled import LabelledClicks
from pipelines.clicks.scoring import check_finite
from pipelines.core import cache
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.distributed.plan import ClickCounts
from pipelines.evaluate.distributed.slices import Slices

#: Number of clicks that are partitioned into shards at a time. A larger number makes fewer and larger parcels.
_PARTITION_ROWS = 262_144

#: Kinds of parcels: scored clicks, or aggregates of users' earlier clicks.
CLICKS, PAST = "clicks", "past"

log = logging.getLogger("mal_tf.evaluate")


class Score(beam.DoFn):
    """Maps (label file, its rows) to parcels of scored mature clicks by shard of users.

    The additional output `seen` has the `ClickCounts` that the plan is made from.

    Args:
        versions: directory of the SavedModel by model name.
        clicks: the split's clicks.
        columns: columns to keep beside the predictions.
        slices: how clicks are sliced.
        batch_size: number of clicks that are scored at a time.
        shards: number of parts that the users are split into.
        exchange: transport of tables between steps.
    """

    def __init__(
        self,
        versions: Mapping[str, str],
        clicks: LabelledClicks,
        columns: Sequence[str],
        slices: Slices,
        batch_size: int,
        shards: int,
        exchange: Exchange,
    ):
        self._versions, self._clicks, self._columns, self._slices = dict(versions), clicks, list(columns), slices
        self._batch_size, self._shards, self._exchange, self._shared = batch_size, shards, exchange, Shared()

    def setup(self):
        """Load the models, once per process."""
        self._exports = self._shared.acquire(
            lambda: Exports({name: cache.directory(path) for name, path in self._versions.items()})
        )
        self._clicks.check_exports(self._exports)

    def process(self, file: tuple[str, int]) -> Iterator[Any]:
        """Score one file."""
        (path, expected), began, rows = file, time.monotonic(), 0
        waiting: list[pa.Table] = []
        for batch in self._clicks.in_file(path, expected).score(self._exports, self._columns, self._batch_size):
            for name in self._versions:
                check_finite(batch[f"{OUTPUT}_{name}"].to_numpy(), name, path)
            rows += batch.num_rows
            waiting.append(batch.filter(pa.compute.equal(batch["mature"], 1)).drop(["mature"]))
            if sum(part.num_rows for part in waiting) >= _PARTITION_ROWS:
                yield from self._partition(waiting)
                waiting = []
        yield from self._partition(waiting)
        seconds = time.monotonic() - began
        log.info("%s: %s clicks scored (%s clicks/s)", path, f"{rows:,}", f"{rows / (seconds + 1e-6):,.0f}")

    def _partition(self, waiting: Sequence[pa.Table]) -> Iterator[Any]:
        clicks = pa.concat_tables(waiting).combine_chunks() if waiting else None
        if clicks is None or not clicks.num_rows:
            return
        yield TaggedOutput("seen", ClickCounts.from_clicks(clicks.to_pandas(), list(self._versions), self._slices))
        yield from partition(self._exchange, CLICKS, clicks, self._shards)


def partition(exchange: Exchange, kind: str, rows: pa.Table, shards: int) -> Iterator[tuple[int, tuple[str, Parcel]]]:
    """Split rows by their `user_id` into shards; yield (shard, (kind, parcel))."""
    for number, parcel in exchange.partition_by_user(rows, shards):
        yield number, (kind, parcel)
