"""What a metric is: a name, a direction, an exact value of clicks, and sums from which resamples and shards get it too."""

import abc
import dataclasses
import functools
import math
from typing import Literal

import numpy as np

from mal_tf.evaluation.ranking import Pairs, PerUser, ranks

#: Values of `Metric.better`, beside a number.
HIGHER: Literal["higher"] = "higher"
LOWER: Literal["lower"] = "lower"


@dataclasses.dataclass(frozen=True)
class Clicks:
    """Clicks with a label and a prediction, and what several metrics need of them, computed once.

    Attributes:
        user: int64 [clicks], user codes 0 … U − 1, each used.
        label: float [clicks], in [0, 1].
        prediction: float [clicks].
        bins: of metrics of calibration.
    """

    user: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    bins: int = 10

    @functools.cached_property
    def rank(self) -> np.ndarray:
        """See `ranking.ranks`."""
        return ranks(self.prediction)

    @functools.cached_property
    def by_user(self) -> PerUser:
        """AUC of every user."""
        return Pairs(self.user, self.label, self.rank).auc()

    def per_user(self, values: np.ndarray | None = None) -> np.ndarray:
        """Sums of values, float [clicks], over each user's clicks, float64 [users]; without values the number of clicks."""
        return np.bincount(self.user, values).astype(np.float64)


class Metric(abc.ABC):
    """A metric of clicks with labels and predictions.

    A subclass that is registered (`mal_tf.evaluation.metrics.register_metric`) is computed by every evaluation, and shown
    by every table, page, gate and comparison.

    Attributes:
        name: in `metrics.json`, TensorBoard and configs.
        title: in tables.
        summary: what it says, in a few words.
        better: `HIGHER`, `LOWER`, or the value that is best.
        needs: what clicks must have for it to have a value.
        digits: decimals in tables.
        limits: least and largest value that it may have.
        additive: whether resamples, and so intervals, can be had.
        headline: whether models are compared by it first: in tables of slices and of comparisons.
        ranking: whether it depends on the order of the predictions alone, so that it says something even where negatives
            are other clicks than the positives' own. The primary target's label must allow those that do.
    """

    name: str
    title: str
    summary: str
    better: Literal["higher", "lower"] | float
    needs = "finite predictions"
    digits = 4
    limits = (-math.inf, math.inf)
    additive = False
    headline = True
    ranking = False

    @property
    def shown_by_slice(self) -> bool:
        """Whether tables of slices show it: headlines, and levels."""
        return self.headline or not isinstance(self.better, str)

    @abc.abstractmethod
    def value(self, clicks: Clicks) -> float:
        """The exact value; NaN where the clicks lack what it needs."""

    def loss(self, value: np.ndarray) -> np.ndarray:
        """What grows as the metric gets worse: the value, its opposite, or its distance from the best."""
        if self.better == HIGHER:
            return np.negative(value)
        return np.positive(value) if self.better == LOWER else np.abs(value - self.better)

    def carriers(self, users: int, positive: int, both: int) -> int:
        """How many users the value rests on; too few allow no interval.

        Args:
            users: with clicks.
            positive: with positives.
            both: with clicks of both classes.
        """
        return positive


class RatioMetric(Metric):
    """A metric that is one sum over the users over another; resamples and shards of users add the sums up.

    They add whole numbers of 2^-24, so the sums should be of the order of the number of clicks.
    """

    additive = True

    @abc.abstractmethod
    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """What each user adds to the sum above and to the sum below, float64 [users] each."""

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return ratio_of_sums(*self.parts(clicks))


def ratio_of_sums(above: np.ndarray, below: np.ndarray) -> float:
    """Σ above / Σ below, NaN where Σ below is 0."""
    ones = np.ones(below.size)
    total = ones @ below
    return float(ones @ above / total) if total else float("nan")
