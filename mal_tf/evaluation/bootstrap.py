"""Is one model better than another? Paired bootstrap over users."""

import numpy as np

from mal_tf.evaluation.metrics import auc, per_user


def paired_differences(
    user: np.ndarray, label: np.ndarray, first: np.ndarray, second: np.ndarray, samples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Differences second − first of AUC and GAUC, with 95% percentile intervals over resampled users.

    Each resample draws as many users as there are, with replacement, the same for both models (Efron and Tibshirani,
    1993). AUC needs a sum over clicks per resample; GAUC only the users' AUCs.

    Args:
        user: int64 [clicks], codes 0 … U − 1.
        label: float [clicks].
        first: predictions of one model.
        second: predictions of the other.
        samples: how many resamples; at least 1.
        seed: of the draws.

    Returns:
        `{"auc" | "gauc": {"difference", "low", "high"}}`.
    """
    users = int(user.max()) + 1
    generator = np.random.default_rng(seed)
    weighted = [_WeightedAuc(user, label, prediction) for prediction in (first, second)]
    by_user = [per_user(user, label, prediction) for prediction in (first, second)]
    mass = np.where(np.isnan(by_user[0].auc), 0, by_user[0].clicks).astype(np.float64)
    gain = np.nan_to_num(by_user[1].auc - by_user[0].auc) * mass
    found = {"auc": [], "gauc": []}
    for _ in range(samples):
        drawn = np.bincount(generator.integers(users, size=users), minlength=users)
        found["auc"].append(weighted[1](drawn) - weighted[0](drawn))
        total = drawn @ mass
        found["gauc"].append(drawn @ gain / total if total else np.nan)
    point = {"auc": auc(label, second) - auc(label, first), "gauc": float(gain.sum() / mass.sum())}
    return {
        name: {"difference": point[name], "low": float(low), "high": float(high)}
        for name, draws in found.items()
        for low, high in [np.nanpercentile(draws, [2.5, 97.5])]
    }


class _WeightedAuc:
    """AUC with each user counted a number of times; sorted once."""

    def __init__(self, user: np.ndarray, label: np.ndarray, prediction: np.ndarray):
        order = np.argsort(prediction, kind="stable")
        self._user, label, prediction = user[order], label[order], prediction[order]
        self._negative = (label <= 0).astype(np.float64)
        self._positive = np.where(label > 0, label, 0.0).astype(np.float64)
        self._tie = np.cumsum(np.append(True, np.diff(prediction) != 0)) - 1

    def __call__(self, times: np.ndarray) -> float:
        """AUC, NaN if a class is missing."""
        times = times[self._user]
        negative = np.bincount(self._tie, self._negative * times)
        positive = np.bincount(self._tie, self._positive * times)
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - 0.5 * negative
        return float(positive @ below / pairs) if pairs else float("nan")
