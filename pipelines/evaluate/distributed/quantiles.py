"""Exact quantiles of numeric features over distributed clicks, from counts by short keys and then of the few values needed."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
import pandas as pd

from mal_tf.evaluation import by_range
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.slices import quantile_bounds, quantile_places

#: Key of a missing number.
_MISSING = -1

#: For each feature, the number of clicks by key or by value.
Counts = Mapping[str, pd.Series]


def key_counts(values: np.ndarray) -> pd.Series:
    """Count numbers, float32 [n], by their key (`by_range.keys`). Missing numbers (NaN) have a key of their own."""
    key = np.where(np.isnan(values), _MISSING, by_range.keys(values).astype(np.int64))
    return _counted(key)


def _counted(values: np.ndarray) -> pd.Series:
    distinct, counts = np.unique(values, return_counts=True)
    return pd.Series(counts.astype(np.int64), distinct)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Positions of the cuts between a feature's quantiles, as far as the keys of the values determine them.

    Attributes:
        keys: int64 [n], ascending, the keys that contain a cut, and the smallest key.
        key: int64 [cuts], the key that contains each cut.
        place: int64 [cuts], index of the cut among the sorted values of that key.
        missing: whether some clicks have no value.
    """

    keys: np.ndarray
    key: np.ndarray
    place: np.ndarray
    missing: bool

    @classmethod
    def from_counts(cls, counts: pd.Series, quantiles: int) -> "Cuts":
        """Find the cuts from the `key_counts` of all clicks."""
        counts = counts.sort_index()
        present = counts[counts.index != _MISSING]
        key, ends = present.index.to_numpy(np.int64), np.cumsum(present.to_numpy())
        places = quantile_places(int(ends[-1]) if ends.size else 0, quantiles)
        number = np.searchsorted(ends, places, side="right")
        before = (ends - present.to_numpy())[number]
        return cls(np.union1d(key[:1], key[number]), key[number], places - before, len(present) < len(counts))

    def value_counts(self, values: np.ndarray) -> pd.Series:
        """Count numbers, float32 [n], by value; those whose key is not among `keys` are left out."""
        values = values[~np.isnan(values)]
        return _counted(values[np.isin(by_range.keys(values).astype(np.int64), self.keys)])

    def bounds(self, counts: pd.Series) -> "Bounds":
        """Find the bounds of the feature's slices from the `value_counts` of all clicks."""
        counts = counts.sort_index()
        values, ends = counts.index.to_numpy(np.float32), np.append(0, np.cumsum(counts.to_numpy()))
        first = np.searchsorted(by_range.keys(values).astype(np.int64), self.key)
        cuts = values[np.searchsorted(ends[1:], ends[first] + self.place, side="right")]
        return Bounds(quantile_bounds(cuts, values[0] if values.size else np.inf), self.missing)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Bounds between the slices by a numeric feature.

    Attributes:
        bounds: float32 [n], see `quantile_bounds`.
        missing: whether some clicks have no value.
    """

    bounds: np.ndarray
    missing: bool


class ValuesAtCuts(beam.DoFn):
    """Maps parcels of clicks to the `Cuts.value_counts` of their numeric features."""

    def __init__(self, exchange: Exchange):
        self._exchange = exchange

    def process(self, element: tuple[int, tuple[str, Parcel]], cuts: Mapping[str, Cuts]) -> Iterator[Counts]:
        """Count one parcel."""
        clicks = self._exchange.unpack(element[1][1])
        yield {name: feature_cuts.value_counts(clicks[name].to_numpy()) for name, feature_cuts in cuts.items()}


def add_counts(parts: Iterable[Counts]) -> Counts:
    """Add up counts by feature. Sums may be added up again."""
    total: dict[str, pd.Series] = {}
    for part in parts:
        for name, counts in part.items():
            total[name] = counts.add(total[name], fill_value=0).astype(np.int64) if name in total else counts
    return total


def find_bounds(counts: Counts, cuts: Mapping[str, Cuts]) -> dict[str, Bounds]:
    """Find the bounds of each feature's slices."""
    return {name: feature_cuts.bounds(counts[name]) for name, feature_cuts in cuts.items()}
