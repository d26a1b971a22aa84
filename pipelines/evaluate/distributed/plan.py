"""Plans an evaluation job's sums: ranges of each model's predictions, and the slices."""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.errors import MalTfError
from mal_tf.evaluation import by_range
from mal_tf.serving import OUTPUT
from pipelines.evaluate.distributed.quantiles import Bounds, Counts, Cuts, add_counts, key_counts
from pipelines.evaluate.distributed.slices import Name, Slices


@dataclasses.dataclass(frozen=True)
class ClickCounts:
    """Counts of mature clicks that the plan is made from. Instances for different clicks can be added up.

    Attributes:
        keys: for each model, the number of clicks by key of the prediction (`by_range.keys`).
        tokens: see `Slices.counts`.
        numbers: `key_counts` of the numeric features that slices are by.
        newest: time of the newest click, in the logs' time unit.
    """

    keys: Sequence[pd.Series]
    tokens: Mapping[str, pd.DataFrame]
    numbers: Counts
    newest: int

    @classmethod
    def from_clicks(cls, clicks: pd.DataFrame, models: Sequence[str], slices: Slices) -> "ClickCounts":
        """Count some clicks, at least one."""
        keys = [by_range.keys(clicks[f"{OUTPUT}_{name}"].to_numpy()) for name in models]
        counts = [pd.Series(*np.unique(key, return_counts=True)[::-1]) for key in keys]
        numbers = {name: key_counts(clicks[name].to_numpy()) for name in slices.numeric}
        return cls(counts, slices.counts(clicks), numbers, int(clicks["timestamp"].max()))

    def __add__(self, other: "ClickCounts") -> "ClickCounts":
        return ClickCounts(
            list(map(_added, self.keys, other.keys)),
            {name: _added(counts, other.tokens[name]) for name, counts in self.tokens.items()},
            add_counts([self.numbers, other.numbers]),
            max(self.newest, other.newest),
        )


def _added(one, other):
    return one.add(other, fill_value=0).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """Ranges of predictions, and slices, that an evaluation job sums over.

    Attributes:
        ranges: for each model, the first key of each range, uint32 [ranges].
        slices: kind and name of each slice, in the order of the report.
        bounds: bounds of the slices by each numeric feature.
        newest: time of the newest mature click.
    """

    ranges: Sequence[np.ndarray]
    slices: Sequence[Name]
    bounds: Mapping[str, Bounds]
    newest: int

    def range_of(self, model: int, prediction: np.ndarray) -> np.ndarray:
        """Return the index of the range that each prediction of a model is in, int64 [clicks]."""
        return np.searchsorted(self.ranges[model], by_range.keys(prediction), side="right") - 1


@dataclasses.dataclass(frozen=True)
class MakePlan:
    """Makes the plan from the counts of all clicks.

    Attributes:
        slices: how clicks are sliced.
        range_clicks: number of clicks in a range.
        split: the split's name for error messages.
    """

    slices: Slices
    range_clicks: int
    split: str

    def cuts(self, seen: ClickCounts | None) -> dict[str, Cuts]:
        """Return where the numeric features that slices are by are cut into quantiles."""
        numbers = seen.numbers if seen else {}
        return {name: Cuts.from_counts(counts, self.slices.config.quantiles) for name, counts in numbers.items()}

    def __call__(self, seen: ClickCounts | None, bounds: Mapping[str, Bounds]) -> EvaluationPlan:
        """Make the plan.

        Raises:
            MalTfError: there is no mature click.
        """
        if seen is None:
            raise MalTfError(f"{self.split}: expected mature clicks to evaluate, found none; label more days")
        ranges = [
            by_range.cut(counts.index.to_numpy(np.uint32), counts.to_numpy(), self.range_clicks) for counts in seen.keys
        ]
        return EvaluationPlan(ranges, self.slices.choose(seen.tokens, bounds), bounds, seen.newest)


def add_up(parts: Iterable) -> Any:
    """Add up parts, or earlier sums; None if there are none."""
    filled = [part for part in parts if part is not None]
    return functools.reduce(operator.add, filled) if filled else None
