"""What the job knows of all clicks before it adds anything up: ranges of each model's predictions, and the slices."""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import MalTfError
from mal_tf.evaluation import by_range
from mal_tf.serving.export import OUTPUT
from pipelines.evaluation_job.slices import Slices


@dataclasses.dataclass(frozen=True)
class Seen:
    """Counts of clicks, which add up.

    Attributes:
        keys: by model, clicks by key of the prediction (`by_range.keys`).
        slices: see `Slices.tally`.
    """

    keys: Sequence[pd.Series]
    slices: pd.DataFrame

    @classmethod
    def of(cls, clicks: pa.Table, models: Sequence[str], slices: Slices) -> "Seen":
        """Counts the clicks."""
        keys = [by_range.keys(clicks[f"{OUTPUT}_{name}"].to_numpy()) for name in models]
        return cls([pd.Series(*np.unique(key, return_counts=True)[::-1]) for key in keys], slices.tally(clicks))

    def __add__(self, other: "Seen") -> "Seen":
        keys = [one.add(two, fill_value=0).astype(np.int64) for one, two in zip(self.keys, other.keys, strict=True)]
        return Seen(keys, self.slices.add(other.slices, fill_value=0).astype(np.int64))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is added up, and where.

    Attributes:
        ranges: by model, the first key of each range, uint32 [ranges].
        slices: by and name of each slice, in the order of the report.
    """

    ranges: Sequence[np.ndarray]
    slices: Sequence[tuple[str, str]]

    def range_of(self, model: int, prediction: np.ndarray) -> np.ndarray:
        """The range that each prediction of a model is in, int64 [clicks]."""
        return np.searchsorted(self.ranges[model], by_range.keys(prediction), side="right") - 1


@dataclasses.dataclass(frozen=True)
class MakePlan:
    """Counts of all clicks to the plan.

    Attributes:
        slices: how clicks are sliced.
        range_clicks: clicks of a range.
        what: the split, for messages.
    """

    slices: Slices
    range_clicks: int
    what: str

    def __call__(self, seen: Seen | None) -> Plan:
        """Makes the plan.

        Raises:
            MalTfError: there is no mature click.
        """
        if seen is None:
            raise MalTfError(f"{self.what}: expected mature clicks to evaluate, found none; label more days")
        ranges = [
            by_range.cut(counts.index.to_numpy(np.uint32), counts.to_numpy(), self.range_clicks) for counts in seen.keys
        ]
        return Plan(ranges, self.slices.choose(seen.slices))


def add_up(parts: Iterable) -> Any:
    """The sum of parts, None without any; sums may be added up in turn."""
    filled = [part for part in parts if part is not None]
    return functools.reduce(operator.add, filled) if filled else None
