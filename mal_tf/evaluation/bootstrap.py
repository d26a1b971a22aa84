"""Is one model better than another? Paired bootstrap over users."""

import itertools
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.sparse import csr_array

from mal_tf.evaluation.metrics import click_losses, per_user

#: A metric's name to its values: of the clicks as they are, then of each resample.
Resampled = dict[str, np.ndarray]

#: The metrics that can be resampled.
METRICS = ("auc", "gauc", "log_loss", "pcoc")

#: A metric that rests on fewer users has no interval and no p-value: so few are drawn alike too often, and a difference of
#: none looks certain (measured in `docs/evaluation.md`). See `enough_users`.
MIN_USERS = 30

#: A metric of the clicks, each user's counted a number of times: int32 [users].
_OfDrawn = Callable[[np.ndarray], float]

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
    user: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    samples: int,
    seed: int,
    metrics: Sequence[str] = ("auc", "gauc"),
) -> Resampled:
    """Metrics of the clicks, and of resamples of their users.

    Each resample draws as many users as there are, with replacement (Efron and Tibshirani, 1993). The draws depend on
    the users and the seed alone, so that two predictions of the same clicks are resampled alike. AUC needs a sum over
    clicks per resample; the others only sums over users.

    Args:
        user: see `Scored`.
        label: see `Scored`.
        prediction: see `Scored`.
        samples: how many resamples.
        seed: of the draws.
        metrics: which of `METRICS`.

    Returns:
        By metric, float64 [1 + samples]; the first value is of the clicks as they are. NaN where a class that the metric
        needs is missing, as such resamples are left out of intervals, and in all resamples of a metric that rests on less
        than `MIN_USERS` users.
    """
    users = int(np.max(user, initial=-1)) + 1
    return resampled_together(users, {"": Scored(user, label, prediction)}, samples, seed, metrics)[""]


def resampled_together(
    users: int, parts: Mapping[_Key, Scored], samples: int, seed: int, metrics: Sequence[str] = METRICS
) -> dict[_Key, Resampled]:
    """As `resampled`, of several labels, predictions and parts of the clicks of the same users: each draw serves all.

    Args:
        users: how many there are, with clicks in a part or without.
        parts: what to resample, by key.
        samples: how many resamples.
        seed: of the draws.
        metrics: which of `METRICS`.
    """
    generator, of_drawn, enough = np.random.default_rng(seed), {}, {}
    for key, (user, label, prediction) in parts.items():
        present, code = np.unique(user, return_inverse=True)
        of_drawn[key] = present, {name: _OF_DRAWN[name](code, label, prediction) for name in metrics}
        positives = np.bincount(code, label > 0, present.size)
        both = (positives > 0) & (positives < np.bincount(code, minlength=present.size))
        enough[key] = enough_users(present.size, int((positives > 0).sum()), int(both.sum()))
    found = {key: {name: np.empty(1 + samples) for name in metrics} for key in parts}
    began = shown = time.monotonic()
    for number in range(1 + samples):
        drawn = np.bincount(generator.integers(users, size=users), minlength=users) if number else np.ones(users, int)
        drawn = drawn.astype(np.int32)
        for key, (present, of_key) in of_drawn.items():
            times = drawn[present]
            for name, metric in of_key.items():
                found[key][name][number] = metric(times)
        if (now := time.monotonic()) - shown > _EVERY:
            shown, left = now, (now - began) / (number + 1) * (samples - number)
            log.info("bootstrap: %s of %s resamples of the users, %.0f s left", f"{number:,}", f"{samples:,}", left)
    for key, name in itertools.product(parts, metrics):
        if not enough[key][name]:
            found[key][name][1:] = np.nan
    return found


def enough_users(users: int, positive: int, both: int) -> dict[str, bool]:
    """Whether each metric rests on at least `MIN_USERS` users: on that many of each class (AUC), with both (GAUC), with
    positives (log-loss and PCOC).

    Args:
        users: with clicks.
        positive: with positives.
        both: with clicks of both classes.
    """
    rests_on = {"auc": min(positive, users - positive + both), "gauc": both, "log_loss": positive, "pcoc": positive}
    return {metric: count >= MIN_USERS for metric, count in rests_on.items()}


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """95% percentile interval of resamples, float [samples]; NaN are left out, NaN if none is left."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return float(low), float(high)


def differences(first: Sequence[Resampled], second: Sequence[Resampled], seed: int = 0) -> dict[str, dict[str, float]]:
    """Differences second − first, with 95% percentile intervals over the resamples and p-values.

    A model trained several times is resampled in its trainings too, for each resample of the users: with few trainings
    the interval is still a little too narrow.

    Args:
        first: one model, an entry per training (by seed): its metrics are the mean over them.
        second: another.
        seed: of the draws of trainings.

    Returns:
        `{metric: {"difference", "low", "high", "p"}}`; see `p_value`.
    """
    generator, found = np.random.default_rng(seed), {}
    for name in first[0]:
        gain = _mean(second, name, generator) - _mean(first, name, generator)
        low, high = interval(gain[1:])
        found[name] = {"difference": float(gain[0]), "low": low, "high": high, "p": p_value(gain[1:])}
    return found


def p_value(resampled: np.ndarray) -> float:
    """Two-sided p-value of a difference: twice the smaller share of resamples on one side of 0, 0 itself on both.

    This is the largest level at which the percentile interval holds 0 (Efron and Tibshirani, 1993, chapter 15). One is added
    to numerator and denominator, so that B resamples never give less than 2 / (B + 1) (Davison and Hinkley, 1997, 4.25).

    Args:
        resampled: float [resamples], the difference in each; NaN are left out. NaN if none is left.
    """
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return float("nan")
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(2 * (1 + beyond) / (known.size + 1), 1.0))


def _mean(trainings: Sequence[Resampled], name: str, generator: np.random.Generator) -> np.ndarray:
    """A metric's mean over trainings, then over as many of them drawn anew for each resample."""
    values = np.array([one[name] for one in trainings])
    drawn = generator.integers(len(trainings), size=values.shape)
    drawn[:, 0] = np.arange(len(trainings))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


class _WeightedAuc:
    """AUC with each user counted a number of times; sorted once.

    Negatives in the order of their predictions are cut where a positive may stand; a row for each piece says whose they are,
    so that a draw costs one product of a sparse matrix.
    """

    def __init__(self, user: np.ndarray, label: np.ndarray, prediction: np.ndarray):
        positive = label > 0
        negative = np.flatnonzero(~positive)
        negative = negative[np.argsort(prediction[negative], kind="stable")]
        self._positive, self._weight = user[positive], np.asarray(label[positive], np.float64)
        below, up_to = (np.searchsorted(prediction[negative], prediction[positive], s) for s in ("left", "right"))
        cuts, of = np.unique(np.concatenate([[0, negative.size], below, up_to]), return_inverse=True)
        self._below, self._up_to = np.split(of[2:], 2)
        shape = cuts.size - 1, int(np.max(user, initial=-1)) + 1
        self._pieces = csr_array((np.ones(negative.size, np.int32), user[negative], cuts), shape)

    def __call__(self, times: np.ndarray) -> float:
        """AUC, NaN if a class is missing."""
        negatives = np.append(0, np.cumsum(self._pieces @ times, dtype=np.int64))
        positives = self._weight * times[self._positive]
        pairs = positives.sum() * negatives[-1]
        won = 0.5 * (positives @ (negatives[self._below] + negatives[self._up_to]))
        return float(won / pairs) if pairs else float("nan")


def _gauc(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> _OfDrawn:
    by_user = per_user(user, label, prediction)
    mass = np.where(np.isnan(by_user.auc), 0, by_user.clicks).astype(np.float64)
    return _ratio(np.nan_to_num(by_user.auc) * mass, mass)


def _log_loss(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> _OfDrawn:
    return _ratio(np.bincount(user, click_losses(label, prediction)), np.bincount(user))


def _pcoc(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> _OfDrawn:
    return _ratio(np.bincount(user, prediction), np.bincount(user, label))


def _ratio(above: np.ndarray, below: np.ndarray) -> _OfDrawn:
    """Σ above / Σ below over the drawn users, NaN where Σ below is 0."""

    def metric(times: np.ndarray) -> float:
        total = times @ below
        return float(times @ above / total) if total else float("nan")

    return metric


_OF_DRAWN = {"auc": _WeightedAuc, "gauc": _gauc, "log_loss": _log_loss, "pcoc": _pcoc}
