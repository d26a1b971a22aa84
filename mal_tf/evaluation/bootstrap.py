"""Is one model better than another? Paired bootstrap over users."""

import warnings
from collections.abc import Sequence

import numpy as np

from mal_tf.evaluation.metrics import per_user

#: A metric's name to its values: of the clicks as they are, then of each resample.
Resampled = dict[str, np.ndarray]


def resampled(user: np.ndarray, label: np.ndarray, prediction: np.ndarray, samples: int, seed: int) -> Resampled:
    """AUC and GAUC of the clicks, and of resamples of their users.

    Each resample draws as many users as there are, with replacement (Efron and Tibshirani, 1993). The draws depend on
    the users and the seed alone, so that two predictions of the same clicks are resampled alike. AUC needs a sum over
    clicks per resample; GAUC only the users' AUCs.

    Args:
        user: int64 [clicks], codes 0 … U − 1; a code that is not used is a user without clicks.
        label: float [clicks].
        prediction: float [clicks].
        samples: how many resamples.
        seed: of the draws.

    Returns:
        `auc` and `gauc`, float64 [1 + samples]; the first value is of the clicks as they are. NaN where a class is
        missing: such resamples are left out of intervals.
    """
    users = int(np.max(user, initial=-1)) + 1
    generator = np.random.default_rng(seed)
    weighted, by_user = _WeightedAuc(user, label, prediction), per_user(user, label, prediction)
    mass = np.where(np.isnan(by_user.auc), 0, by_user.clicks).astype(np.float64)
    won = np.nan_to_num(by_user.auc) * mass
    found: dict[str, list[float]] = {"auc": [], "gauc": []}
    for number in range(1 + samples):
        drawn = np.bincount(generator.integers(users, size=users), minlength=users) if number else np.ones(users, int)
        found["auc"].append(weighted(drawn))
        total = drawn @ mass
        found["gauc"].append(drawn @ won / total if total else np.nan)
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
        `{"auc" | "gauc": {"difference", "low", "high"}}`.
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
    """As `differences`, of two predictions of the same clicks; arguments as in `resampled`."""
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
