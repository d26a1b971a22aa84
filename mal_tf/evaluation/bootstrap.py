"""Is one model better than another? Paired bootstrap over users."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from mal_tf.evaluation.metrics import click_losses, per_user

#: A metric's name to its values: of the clicks as they are, then of each resample.
Resampled = dict[str, np.ndarray]

#: A metric of the clicks, each user's counted a number of times: int [users].
_OfDrawn = Callable[[np.ndarray], float]


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
        user: int64 [clicks], codes 0 … U − 1; a code that is not used is a user without clicks.
        label: float [clicks].
        prediction: float [clicks].
        samples: how many resamples.
        seed: of the draws.
        metrics: which of `auc`, `gauc`, `log_loss` and `pcoc`.

    Returns:
        By metric, float64 [1 + samples]; the first value is of the clicks as they are. NaN where a class that the metric
        needs is missing: such resamples are left out of intervals.
    """
    users = int(np.max(user, initial=-1)) + 1
    generator = np.random.default_rng(seed)
    of_drawn = {name: _OF_DRAWN[name](user, label, prediction) for name in metrics}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for number in range(1 + samples):
        drawn = np.bincount(generator.integers(users, size=users), minlength=users) if number else np.ones(users, int)
        for name, metric in of_drawn.items():
            found[name].append(metric(drawn))
    return {name: np.array(values) for name, values in found.items()}


def differences(first: Sequence[Resampled], second: Sequence[Resampled], seed: int = 0) -> dict[str, dict[str, float]]:
    """Differences second − first, with 95% percentile intervals over the resamples.

    A model trained several times is resampled in its trainings too, for each resample of the users: with few trainings
    the interval is still a little too narrow.

    Args:
        first: one model, an entry per training (by seed): its metrics are the mean over them.
        second: another.
        seed: of the draws of trainings.

    Returns:
        `{metric: {"difference", "low", "high"}}`.
    """
    generator, found = np.random.default_rng(seed), {}
    for name in first[0]:
        gain = _mean(second, name, generator) - _mean(first, name, generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # No resample has both classes: NaN.
            low, high = np.nanpercentile(gain[1:], [2.5, 97.5]) if gain.size > 1 else (np.nan, np.nan)
        found[name] = {"difference": float(gain[0]), "low": float(low), "high": float(high)}
    return found


def _mean(trainings: Sequence[Resampled], name: str, generator: np.random.Generator) -> np.ndarray:
    """A metric's mean over trainings, then over as many of them drawn anew for each resample."""
    values = np.array([one[name] for one in trainings])
    drawn = generator.integers(len(trainings), size=values.shape)
    drawn[:, 0] = np.arange(len(trainings))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def paired_differences(
    user: np.ndarray, label: np.ndarray, first: np.ndarray, second: np.ndarray, samples: int, seed: int
) -> dict[str, dict[str, float]]:
    """As `differences`, of AUC and GAUC of two predictions of the same clicks; arguments as in `resampled`."""
    one, other = (resampled(user, label, prediction, samples, seed) for prediction in (first, second))
    return differences([one], [other])


class _WeightedAuc:
    """AUC with each user counted a number of times; sorted once."""

    def __init__(self, user: np.ndarray, label: np.ndarray, prediction: np.ndarray):
        order = np.argsort(prediction, kind="stable")
        self._user, label, prediction = user[order], label[order], prediction[order]
        self._negative = (label <= 0).astype(np.float64)
        self._positive = np.where(label > 0, label, 0.0).astype(np.float64)
        self._tie = np.cumsum(np.append(True, np.diff(prediction) != 0)[: order.size]) - 1

    def __call__(self, times: np.ndarray) -> float:
        """AUC, NaN if a class is missing."""
        times = times[self._user]
        negative = np.bincount(self._tie, self._negative * times)
        positive = np.bincount(self._tie, self._positive * times)
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - 0.5 * negative
        return float(positive @ below / pairs) if pairs else float("nan")


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
