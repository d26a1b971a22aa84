"""What the job knows of all clicks before it adds anything up: ranges of each model's predictions, and the slices."""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.errors import MalTfError
from mal_tf.evaluation import by_range
from mal_tf.serving.export import OUTPUT
from pipelines.evaluate.distributed.quantiles import Bounds, Counts, Cuts, add_counts, key_counts
from pipelines.evaluate.distributed.slices import Name, Slices


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is known of mature clicks, which adds up.

    Attributes:
        keys: by model, clicks by key of the prediction (`by_range.keys`).
        tokens: see `Slices.counts`.
        numbers: `key_counts` of the numeric features that slices are by.
        newest: time of the newest.
    """

    keys: Sequence[pd.Series]
    tokens: Mapping[str, pd.DataFrame]
    numbers: Counts
    newest: int

    @classmethod
    def of(cls, clicks: pd.DataFrame, models: Sequence[str], slices: Slices) -> "Seen":
        """What is known of some clicks, at least one."""
        keys = [by_range.keys(clicks[f"{OUTPUT}_{name}"].to_numpy()) for name in models]
        counts = [pd.Series(*np.unique(key, return_counts=True)[::-1]) for key in keys]
        numbers = {name: key_counts(clicks[name].to_numpy()) for name in slices.numeric}
        return cls(counts, slices.counts(clicks), numbers, int(clicks["timestamp"].max()))

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(
            list(map(_added, self.keys, other.keys)),
            {name: _added(counts, other.tokens[name]) for name, counts in self.tokens.items()},
            add_counts([self.numbers, other.numbers]),
            max(self.newest, other.newest),
        )


def _added(one, other):
    return one.add(other, fill_value=0).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """What is added up, and where.

    Attributes:
        ranges: by model, the first key of each range, uint32 [ranges].
        slices: in the order of the report.
        bounds: of the slices by numeric features.
        newest: time of the newest mature click.
    """

    ranges: Sequence[np.ndarray]
    slices: Sequence[Name]
    bounds: Mapping[str, Bounds]
    newest: int

    def range_of(self, model: int, prediction: np.ndarray) -> np.ndarray:
        """The range that each prediction of a model is in, int64 [clicks]."""
        return np.searchsorted(self.ranges[model], by_range.keys(prediction), side="right") - 1


@dataclasses.dataclass(frozen=True)
class MakePlan:
    """What is known of all clicks to the plan.

    Attributes:
        slices: how clicks are sliced.
        range_clicks: clicks of a range.
        what: the split, for messages.
    """

    slices: Slices
    range_clicks: int
    what: str

    def cuts(self, seen: Seen | None) -> dict[str, Cuts]:
        """Where the numeric features that slices are by are to be cut."""
        numbers = seen.numbers if seen else {}
        return {name: Cuts.of(counts, self.slices.config.quantiles) for name, counts in numbers.items()}

    def __call__(self, seen: Seen | None, bounds: Mapping[str, Bounds]) -> EvaluationPlan:
        """Makes the plan.

        Raises:
            MalTfError: there is no mature click.
        """
        if seen is None:
            raise MalTfError(f"{self.what}: expected mature clicks to evaluate, found none; label more days")
        ranges = [
            by_range.cut(counts.index.to_numpy(np.uint32), counts.to_numpy(), self.range_clicks) for counts in seen.keys
        ]
        return EvaluationPlan(ranges, self.slices.choose(seen.tokens, bounds), bounds, seen.newest)


def add_up(parts: Iterable) -> Any:
    """The sum of parts, None without any; sums may be added up in turn."""
    filled = [part for part in parts if part is not None]
    return functools.reduce(operator.add, filled) if filled else None
