"""Bootstrap of metrics over users, with Poisson(1) draws that depend only on the hash of the user."""

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

#: A metric that rests on fewer users (`Metric.carriers`) gets no interval and no p-value. With so few, resamples repeat each
#: other too often, and chance differences look significant (measured in docs/evaluation.md).
MIN_USERS = 30

#: Seconds between lines that log the progress.
_EVERY = 5.0

log = logging.getLogger("mal_tf.evaluation")

_Key = TypeVar("_Key", bound=Hashable)


class Scored(NamedTuple):
    """Clicks with a label and a prediction.

    Attributes:
        user: int64 [clicks], codes 0 … U − 1; a code that does not occur is a user without clicks.
        label: float [clicks].
        prediction: float [clicks].
    """

    user: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


def resampled(
    hashed: np.ndarray, scored: Scored, samples: int, seed: int, names: Iterable[str] | None = None
) -> Resampled:
    """Resamples one label, prediction and part of the clicks; see `resampled_together`."""
    return resampled_together(hashed, {"": scored}, samples, seed, names)[""]


def resampled_together(
    hashed: np.ndarray, parts: Mapping[_Key, Scored], samples: int, seed: int, names: Iterable[str] | None = None
) -> dict[_Key, Resampled]:
    """Computes metrics of the clicks, and of resamples of their users (`mal_tf.evaluation.draws`).

    The draws depend only on the users and the seed. All labels, predictions and parts of the clicks share them, so that
    common noise cancels out in differences. AUC needs a sum over clicks per resample, other metrics only sums over users.

    Args:
        hashed: uint64 [users], well-mixed hashes of the users' ids.
        parts: clicks to resample, by key.
        samples: number of resamples.
        seed: seed of the draws.
        names: names of the additive metrics to compute; all by default.

    Returns:
        For each key, float64 [1 + samples] by metric; the first value is that of the actual clicks. NaN where a class that
        the metric needs is missing (such resamples are left out of intervals), and in all resamples of a metric that rests
        on fewer than `MIN_USERS` users or whose value for the actual clicks is not finite.
    """
    available = additive_metrics()
    metrics = [available[name] for name in (available if names is None else names)]
    prepared = {key: _Part(scored, metrics, samples) for key, scored in parts.items()}
    began = shown = time.monotonic()
    for block, times in draws.blocks(hashed, seed, samples):
        for part in prepared.values():
            part.add(block, times)
        if (now := time.monotonic()) - shown > _EVERY:
            shown, left = now, (now - began) / block.stop * (samples - block.stop)
            log.info("bootstrap: %s of %s resamples of the users, %.0f s left", f"{block.stop:,}", f"{samples:,}", left)
    return {key: part.values for key, part in prepared.items()}


def too_few(metric: Metric, users: int, positive: int, both: int) -> bool:
    """Whether a metric rests on fewer than `MIN_USERS` users; arguments as in `Metric.carriers`."""
    return metric.carriers(users, positive, both) < MIN_USERS


class _Part:
    """A part of the clicks, and its metrics in the resamples computed so far."""

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

    def add(self, block: slice, times: np.ndarray) -> None:
        """Computes the metrics of a block of resamples; `times`, uint8 [users, resamples], is how often each user is drawn."""
        times, columns = times[self._present], slice(1 + block.start, 1 + block.stop)
        for name, values in zip(self._ratios, ratios(self._sums(times)), strict=True):
            self.values[name][columns] = values
        if self._pairs is not None:
            self.values[Auc.name][columns] = share_won(self._pairs.drawn(times))
        for name in self._without:
            self.values[name][columns] = np.nan
