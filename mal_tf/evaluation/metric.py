"""Base classes of metrics: a name, a direction, an exact value, and optionally sums over users for resamples and shards."""

import abc
import dataclasses
import functools
import math
from typing import Literal

import numpy as np

from mal_tf.evaluation.ranking import Pairs, PerUser, ranks

#: Values of `Metric.better`, which may also be a number.
HIGHER: Literal["higher"] = "higher"
LOWER: Literal["lower"] = "lower"


@dataclasses.dataclass(frozen=True)
class Clicks:
    """Clicks with a label and a prediction, and cached intermediate results that several metrics share.

    Attributes:
        user: int64 [clicks], user codes 0 … U − 1, all of which occur.
        label: float [clicks], in [0, 1].
        prediction: float [clicks].
        bins: number of bins of calibration metrics.
    """

    user: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    bins: int = 10

    @functools.cached_property
    def rank(self) -> np.ndarray:
        """Ranks of the predictions, uint32 [clicks], see `ranking.ranks`."""
        return ranks(self.prediction)

    @functools.cached_property
    def by_user(self) -> PerUser:
        """AUC of every user."""
        return Pairs(self.user, self.label, self.rank).auc()

    def per_user(self, values: np.ndarray | None = None) -> np.ndarray:
        """Sums of values, float [clicks], over the clicks of each user: float64 [users]. Without values, counts the clicks."""
        return np.bincount(self.user, values).astype(np.float64)


class Metric(abc.ABC):
    """A metric of clicks with labels and predictions.

    Every evaluation computes all registered metrics (`mal_tf.evaluation.metrics.register_metric`), and tables, reports, gates
    and comparisons show them. A `RatioMetric` also has intervals.

    Attributes:
        name: name in `metrics.json`, TensorBoard and configs.
        title: heading in tables.
        summary: meaning in a few words.
        better: `HIGHER`, `LOWER`, or the best value.
        needs: what the clicks must contain for the metric to be defined.
        digits: decimals in tables.
        limits: smallest and largest possible value.
        headline: whether tables of slices and comparisons show it.
        ranking: whether it depends only on the order of the predictions, so that it remains meaningful when negatives are
            other clicks than the positives' own. The label of the primary target must allow such metrics.
    """

    name: str
    title: str
    summary: str
    better: Literal["higher", "lower"] | float
    needs = "finite predictions"
    digits = 4
    limits = (-math.inf, math.inf)
    headline = True
    ranking = False

    @property
    def shown_by_slice(self) -> bool:
        """Whether tables of slices show it: headline metrics, and those with a best value."""
        return self.headline or not isinstance(self.better, str)

    @abc.abstractmethod
    def value(self, clicks: Clicks) -> float:
        """Computes the exact value; NaN if the clicks lack what the metric needs."""

    def loss(self, value: np.ndarray) -> np.ndarray:
        """Quantity that grows as the metric gets worse: the value, its negative, or its distance from the best value."""
        if self.better == HIGHER:
            return np.negative(value)
        return np.positive(value) if self.better == LOWER else np.abs(value - self.better)

    def carriers(self, users: int, positive: int, both: int) -> int:
        """Number of users on which the value rests. If there are too few, the metric gets no interval.

        Args:
            users: number of users with clicks.
            positive: number of users with positives.
            both: number of users with clicks of both classes.
        """
        return positive


class RatioMetric(Metric):
    """A metric that is a ratio of two sums over users, which resamples and shards of users can add up.

    Resampled sums are rounded to multiples of 2^-24, so they should be of the order of the number of clicks.
    """

    @abc.abstractmethod
    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Contributions of each user to the numerator and to the denominator, float64 [users] each."""

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return ratio_of_sums(*self.parts(clicks))


def ratio_of_sums(above: np.ndarray, below: np.ndarray) -> float:
    """Σ above / Σ below; NaN if Σ below is 0."""
    ones = np.ones(below.size)
    total = ones @ below
    return float(ones @ above / total) if total else float("nan")
