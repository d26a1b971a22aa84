"""Aggregates earlier clicks by user, for the slices by information gain and by user history."""

import dataclasses
from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.clicks.labelled import LabelledClicks
from pipelines.clicks.scoring import known_or_new
from pipelines.config.evaluation import INFORMATION_GAIN, USER_HISTORY, GrowthConfig
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.distributed.score import PAST, partition

#: Columns of the aggregates: positives that the wider mechanism has beyond the narrower one, and the number of training
#: files that contain the user.
EXTRA, KNOWN = "extra", "known"


@dataclasses.dataclass(frozen=True)
class Earlier:
    """A label file of earlier clicks.

    Attributes:
        path: path of the file.
        rows: number of its clicks.
        growth: whether its clicks count for `information_gain`, that is, are in the trailing window.
        known: whether its users count as known, that is, whether models were trained on it.
    """

    path: str
    rows: int
    growth: bool
    known: bool


class Past(beam.DoFn):
    """Reads files of earlier clicks; yields parcels with a row per user, `user_id`, `extra` and `known`, by shard of users."""

    def __init__(self, clicks: LabelledClicks, growth: GrowthConfig, shards: int, exchange: Exchange):
        self._clicks, self._growth, self._shards, self._exchange = clicks, growth, shards, exchange

    def process(self, file: Earlier) -> Iterator[tuple[int, tuple[str, Parcel]]]:
        """Read one file."""
        labels = [f"label_{name}" for name in (self._growth.wider, self._growth.narrower)] if file.growth else []
        clicks = pa.concat_tables(self._clicks.in_file(file.path, file.rows).read(["user_id", "mature", *labels]))
        if not clicks.num_rows:
            return
        positive = [np.asarray(clicks[name]) > 0 for name in labels] or [np.zeros(clicks.num_rows, bool)] * 2
        extra = np.subtract(*positive, dtype=np.int64) * (np.asarray(clicks["mature"]) == 1)
        counted = pa.table({"user_id": clicks["user_id"], EXTRA: extra, KNOWN: np.full(extra.size, int(file.known))})
        yield from partition(self._exchange, PAST, sum_by_user(counted), self._shards)


def sum_by_user(counted: pa.Table) -> pa.Table:
    """Sum `EXTRA` and `KNOWN` by user, to one row per user."""
    # Not Arrow's group_by, which crashes on many users in pyarrow 10.
    users = counted.to_pandas().groupby("user_id", sort=False).sum().reset_index()
    return pa.Table.from_pandas(users, counted.schema, preserve_index=False)


def with_past(clicks: pd.DataFrame, counted: Sequence[pa.Table]) -> pd.DataFrame:
    """Add the columns `information_gain` and `user_history` to the clicks of a shard of users, from their earlier clicks."""
    no_rows = {"user_id": pa.array([], pa.string()), EXTRA: np.zeros(0, np.int64), KNOWN: np.zeros(0, np.int64)}
    past = sum_by_user(pa.concat_tables([pa.table(no_rows), *counted])).to_pandas().set_index("user_id")
    extra, known = (clicks["user_id"].map(past[name]).fillna(0).to_numpy(np.int64) for name in (EXTRA, KNOWN))
    return clicks.assign(**{INFORMATION_GAIN: extra, USER_HISTORY: known_or_new(known > 0)})
