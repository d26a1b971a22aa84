"""Slices of distributed clicks: chosen once from counts over all clicks, then applied to each shard of users."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features import vocabulary
from pipelines.clicks.scoring import click_age, token_known
from pipelines.config.evaluation import (
    CLICK_AGE,
    INFORMATION_GAIN,
    KNOWN_PREFIX,
    PATH_LENGTH,
    USER_HISTORY,
    EvaluationConfig,
)
from pipelines.core import files
from pipelines.evaluate.distributed.quantiles import Bounds
from pipelines.evaluate.slices import MISSING_TOKEN, Slice, by_quantile_bounds, make_slices, tokens

#: Kind and name of a slice.
Name = tuple[str, str]

#: Names of the slices by whether the user or the value occurred in training.
_KNOWN_OR_NEW = ("known", "new", MISSING_TOKEN)


@dataclasses.dataclass(frozen=True)
class Slices:
    """How clicks are sliced.

    Attributes:
        by: names of `EvaluationConfig.slices`.
        label: column of the label whose metrics are sliced.
        config: bounds and limits.
        features: dtype of each feature that slices are by.
        vocabularies: path of the training vocabulary of each feature, for `known_<feature>`.
        units_per_second: time unit of the logs, in units per second.
        window_hours: the longest attribution window of all mechanisms.
    """

    by: Sequence[str]
    label: str
    config: EvaluationConfig
    features: Mapping[str, str]
    vocabularies: Mapping[str, str]
    units_per_second: int
    window_hours: float

    @property
    def numeric(self) -> list[str]:
        """The numeric features among `by`."""
        return [name for name in self.by if self.features.get(name) == "float32"]

    @property
    def categorical(self) -> list[str]:
        """The categorical features among `by`."""
        return [name for name in self.by if name in self.features and name not in self.numeric]

    def counts(self, clicks: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Count `clicks` and `positives` of each token, for each categorical feature that slices are by."""
        positive = (clicks[self.label] > 0).astype(np.int64)
        return {
            name: positive.groupby(tokens(clicks[name])).agg(clicks="size", positives="sum")
            for name in self.categorical
        }

    def choose(self, counts: Mapping[str, pd.DataFrame], bounds: Mapping[str, Bounds]) -> list[Name]:
        """Return all possible slices, from the counts of all clicks and the bounds of numeric features."""
        return [(by, name) for by in self.by for name in self._names(by, counts, bounds)]

    def _names(self, by: str, counts: Mapping[str, pd.DataFrame], bounds: Mapping[str, Bounds]) -> Sequence[str]:
        if by in bounds:
            values = np.array([np.nan if bounds[by].missing else 0], np.float32)
            return [part.name for part in by_quantile_bounds(values, bounds[by].bounds)]
        if by in counts:
            return self._most_frequent(counts[by])
        if by == USER_HISTORY or by.startswith(KNOWN_PREFIX):
            return _KNOWN_OR_NEW
        kind = np.int64 if by in (PATH_LENGTH, INFORMATION_GAIN) else np.float64
        return [part.name for part in self._parts(pd.Series([], dtype=kind, name=by), np.zeros(0))]

    def _most_frequent(self, counts: pd.DataFrame) -> list[str]:
        enough = counts[counts["positives"] >= self.config.min_positives]
        order = np.lexsort((enough.index.to_numpy(), -enough["clicks"].to_numpy()))
        return enough.index[order][: self.config.top_values].tolist()

    def members(
        self, clicks: pd.DataFrame, newest: int, slices: Sequence[Name], bounds: Mapping[str, Bounds]
    ) -> tuple[np.ndarray, ...]:
        """Determine which clicks are in which slices.

        Args:
            clicks: clicks of a shard of users; columns as read, `information_gain` and `user_history`.
            newest: time of the newest mature click.
            slices: all slices, see `choose`.
            bounds: bounds of the slices by each numeric feature.

        Returns:
            Three arrays [memberships]: the row of the click, ascending, int64; the number of the slice, int64; and whether
            the click is one of the slice's own (`Slice.own`), bool.
        """
        rows, numbers, own = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
        number = {name: place for place, name in enumerate(slices)}
        for by in self.by:
            if by in self.categorical:
                index = pd.Index([name for kind, name in slices if kind == by], dtype=object)
                place = index.get_indexer(tokens(clicks[by]))
                rows.append(np.flatnonzero(place >= 0))
                numbers.append(place[rows[-1]] + (number[by, index[0]] if index.size else 0))
                own.append(np.ones(rows[-1].size, bool))
                continue
            if by in bounds:
                parts = by_quantile_bounds(clicks[by].to_numpy(), bounds[by].bounds)
            else:
                parts = self._parts(self._values(by, clicks, newest), clicks[self.label].to_numpy())
            for part in parts:
                rows.append(np.flatnonzero(part.chosen))
                numbers.append(np.full(rows[-1].size, number[by, part.name]))
                own.append((part.chosen if part.own is None else part.own)[rows[-1]])
        memberships = [np.concatenate(parts) for parts in (rows, numbers, own)]
        order = np.lexsort((memberships[1], memberships[0]))
        return tuple(values[order] for values in memberships)

    def _parts(self, values: pd.Series, label: np.ndarray) -> list[Slice]:
        """Return all slices, however few clicks they have."""
        return make_slices(
            values, label, self.config.model_copy(update={"min_positives": 0, "top_values": len(_KNOWN_OR_NEW)})
        )

    def _values(self, by: str, clicks: pd.DataFrame, newest: int) -> pd.Series:
        if by == CLICK_AGE:
            since = (newest - clicks["timestamp"]) / self.units_per_second
            return pd.Series(click_age(since, self.window_hours), name=by)
        if by.startswith(KNOWN_PREFIX):
            feature = by.removeprefix(KNOWN_PREFIX)
            return pd.Series(token_known(clicks[feature], _vocabulary(self.vocabularies[feature])), name=by)
        return clicks[by]

    def reported(self, by: str, clicks: np.ndarray, positives: np.ndarray, names: Sequence[str]) -> list[int]:
        """Return the indices of the slices of a kind that are in the report, in its order.

        Args:
            by: the kind.
            clicks: int64 [slices].
            positives: int64 [slices].
            names: names of the slices.
        """
        enough = np.flatnonzero(positives >= self.config.min_positives)
        if by in self.categorical or by == USER_HISTORY or by.startswith(KNOWN_PREFIX):
            order = np.lexsort((np.array(names, object)[enough].astype(str), -clicks[enough]))
            enough = enough[order][: self.config.top_values]
        return enough.tolist()


@functools.lru_cache
def _vocabulary(path: str) -> list[str]:
    return vocabulary.read(files.read_text(path))
