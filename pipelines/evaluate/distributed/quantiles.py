"""Quantiles of numeric features of clicks that lie in many places, exactly: found by counts of short keys, then of few values."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import pandas as pd

from mal_tf.evaluation import by_range
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.slices import quantile_bounds, quantile_places

#: Stands for a missing number among the keys of numbers.
_MISSING = -1

#: Clicks by key or by value, of each feature.
Counts = Mapping[str, pd.Series]


def key_counts(values: np.ndarray) -> pd.Series:
    """How many of some numbers, float32 [n], have each key (`by_range.keys`), missing ones too."""
    key = np.where(np.isnan(values), _MISSING, by_range.keys(values).astype(np.int64))
    return _counted(key)


def _counted(values: np.ndarray) -> pd.Series:
    distinct, counts = np.unique(values, return_counts=True)
    return pd.Series(counts.astype(np.int64), distinct)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Where a feature's values are cut, as far as the keys of the values tell.

    Attributes:
        keys: int64 [n], ascending: those that hold a cut, and the least of all.
        key: int64 [cuts], the key that each cut is in.
        place: int64 [cuts], its place among the values of that key.
        missing: whether some clicks have no value.
    """

    keys: np.ndarray
    key: np.ndarray
    place: np.ndarray
    missing: bool

    @classmethod
    def of(cls, counts: pd.Series, quantiles: int) -> "Cuts":
        """Cuts of all clicks, of the sum of their `key_counts`."""
        counts = counts.sort_index()
        present = counts[counts.index != _MISSING]
        key, ends = present.index.to_numpy(np.int64), np.cumsum(present.to_numpy())
        places = quantile_places(int(ends[-1]) if ends.size else 0, quantiles)
        number = np.searchsorted(ends, places, side="right")
        before = (ends - present.to_numpy())[number]
        return cls(np.union1d(key[:1], key[number]), key[number], places - before, len(present) < len(counts))

    def value_counts(self, values: np.ndarray) -> pd.Series:
        """How many of some numbers, float32 [n], have each value, of those whose key is one of `keys`."""
        values = values[~np.isnan(values)]
        return _counted(values[np.isin(by_range.keys(values).astype(np.int64), self.keys)])

    def bounds(self, counts: pd.Series) -> "Bounds":
        """How the feature is sliced, of the sum of the `value_counts` of all clicks."""
        counts = counts.sort_index()
        values, ends = counts.index.to_numpy(np.float32), np.append(0, np.cumsum(counts.to_numpy()))
        first = np.searchsorted(by_range.keys(values).astype(np.int64), self.key)
        cuts = values[np.searchsorted(ends[1:], ends[first] + self.place, side="right")]
        return Bounds(quantile_bounds(cuts, values[0] if values.size else np.inf), self.missing)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How a numeric feature is sliced.

    Attributes:
        bounds: float32 [n], see `quantile_bounds`.
        missing: whether some clicks have no value.
    """

    bounds: np.ndarray
    missing: bool


class ValuesAtCuts(beam.DoFn):
    """Parcels of clicks by shard of users to the `Cuts.value_counts` of their numeric features."""

    def __init__(self, exchange: Exchange):
        self._exchange = exchange

    def process(self, element: tuple[int, tuple[str, Parcel]], cuts: Mapping[str, Cuts]) -> Iterator[Counts]:
        """Counts one parcel."""
        clicks = self._exchange.unpack(element[1][1])
        yield {name: of.value_counts(clicks[name].to_numpy()) for name, of in cuts.items()}


def add_counts(parts: Iterable[Counts]) -> Counts:
    """The sums of counts by feature; sums may be added up in turn."""
    total: dict[str, pd.Series] = {}
    for part in parts:
        for name, counts in part.items():
            total[name] = counts.add(total[name], fill_value=0).astype(np.int64) if name in total else counts
    return total


def bounds_of(counts: Counts, cuts: Mapping[str, Cuts]) -> dict[str, Bounds]:
    """The bounds of each feature."""
    return {name: of.bounds(counts[name]) for name, of in cuts.items()}
