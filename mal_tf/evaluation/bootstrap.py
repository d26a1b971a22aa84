"""Metrics of resamples of the users: Poisson(1) draws by the user's hash, the same wherever the clicks are added up."""

import logging
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from mal_tf.evaluation import draws
from mal_tf.evaluation.by_user import DrawnSums, ratios
from mal_tf.evaluation.judgement import Resampled
from mal_tf.evaluation.metric import Clicks, Metric, RatioMetric, ratio_of_sums
from mal_tf.evaluation.metrics import Auc, additive_metrics
from mal_tf.evaluation.ranking import ResampledPairs, share_won

#: A metric that rests on fewer users has no interval and no p-value: so few are drawn alike too often, and a difference of
#: none looks certain (measured in `docs/evaluation.md`). See `Metric.carriers`.
MIN_USERS = 30

#: Seconds between lines that say how far it is.
_EVERY = 5.0

log = logging.getLogger("mal_tf.evaluation")

_Key = TypeVar("_Key", bound=Hashable)


class Scored(NamedTuple):
    """Clicks with a label and a prediction.

    Attributes:
        user: int64 [clicks], codes 0 … U − 1; a code that is not used is a user without clicks.
        label: float [clicks].
        prediction: float [clicks].
    """

    user: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


def resampled(
    hashed: np.ndarray, scored: Scored, samples: int, seed: int, names: Iterable[str] | None = None
) -> Resampled:
    """As `resampled_together`, of one label, prediction and part of the clicks."""
    return resampled_together(hashed, {"": scored}, samples, seed, names)[""]


def resampled_together(
    hashed: np.ndarray, parts: Mapping[_Key, Scored], samples: int, seed: int, names: Iterable[str] | None = None
) -> dict[_Key, Resampled]:
    """Metrics of the clicks, and of resamples of their users (`mal_tf.evaluation.draws`).

    The draws depend on the users and the seed alone: each serves all labels, predictions and parts of the clicks, so that
    what they share cancels out in their differences. AUC needs a sum over clicks per resample, others only sums over users.

    Args:
        hashed: uint64 [users], well-mixed hashes of the users' ids.
        parts: what to resample, by key.
        samples: how many resamples.
        seed: of the draws.
        names: which of the additive metrics; all by default.

    Returns:
        By metric, float64 [1 + samples]; the first value is of the clicks as they are. NaN where a class that the metric
        needs is missing, as such resamples are left out of intervals, and in all resamples of a metric that rests on less
        than `MIN_USERS` users or has no finite value of the clicks as they are.
    """
    available = additive_metrics()
    metrics = [available[name] for name in (available if names is None else names)]
    prepared = {key: _Part(scored, metrics, samples) for key, scored in parts.items()}
    began = shown = time.monotonic()
    for some, times in draws.blocks(hashed, seed, samples):
        for part in prepared.values():
            part.add(some, times)
        if (now := time.monotonic()) - shown > _EVERY:
            shown, left = now, (now - began) / some.stop * (samples - some.stop)
            log.info("bootstrap: %s of %s resamples of the users, %.0f s left", f"{some.stop:,}", f"{samples:,}", left)
    return {key: part.values for key, part in prepared.items()}


def too_few(metric: Metric, users: int, positive: int, both: int) -> bool:
    """Whether a metric rests on less than `MIN_USERS` users; arguments as of `Metric.carriers`."""
    return metric.carriers(users, positive, both) < MIN_USERS


class _Part:
    """A part of the clicks, and its metrics in the resamples so far."""

    def __init__(self, scored: Scored, metrics: Sequence[Metric], samples: int):
        self._present, code = np.unique(scored.user, return_inverse=True)
        clicks = Clicks(code, scored.label, scored.prediction)
        self.values = {metric.name: np.full(1 + samples, np.nan) for metric in metrics}
        sums: list[np.ndarray] = []
        self._ratios, self._pairs = [], None
        for metric in metrics:
            if isinstance(metric, RatioMetric):
                self._ratios.append(metric.name)
                sums += metric.parts(clicks)
                self.values[metric.name][0] = ratio_of_sums(*sums[-2:])
            elif isinstance(metric, Auc):
                self._pairs = ResampledPairs(code, scored.label, scored.prediction)
                self.values[metric.name][0] = metric.value(clicks)
        finite = np.nan_to_num(
            np.array(sums, np.float64).reshape(len(sums), self._present.size), nan=0, posinf=0, neginf=0
        )
        self._sums = DrawnSums(finite)
        positives = np.bincount(code, scored.label > 0, self._present.size)
        both = (positives > 0) & (positives < np.bincount(code, minlength=self._present.size))
        counts = self._present.size, int((positives > 0).sum()), int(both.sum())
        self._without = [
            metric.name
            for metric in metrics
            if too_few(metric, *counts) or not np.isfinite(self.values[metric.name][0])
        ]

    def add(self, some: slice, times: np.ndarray) -> None:
        """Computes the metrics of some resamples, of how often each draws each user, uint8 [users, resamples]."""
        times, block = times[self._present], slice(1 + some.start, 1 + some.stop)
        for name, values in zip(self._ratios, ratios(self._sums(times)), strict=True):
            self.values[name][block] = values
        if self._pairs is not None:
            self.values[Auc.name][block] = share_won(self._pairs.drawn(times))
        for name in self._without:
            self.values[name][block] = np.nan
