"""AUC, GAUC, log-loss, PCOC and calibration error of fractional labels, exactly as DESIGN §6 defines them.

Throughout, a click with label l > 0 is a positive of weight l, any other a negative of weight 1.
"""

import dataclasses

import numpy as np

from features.errors import MalTfError
from mal_tf.evaluation.calibration import equal_mass

#: Predictions are kept this far from 0 and 1 in the log-loss.
_CLIP = 1e-7

#: Clicks whose losses are computed at a time.
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class PerUser:
    """AUC of every user.

    Attributes:
        clicks: int64 [users], clicks of each user.
        auc: float64 [users], NaN for users with one class only.
    """

    clicks: np.ndarray
    auc: np.ndarray


def auc(label: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half; exact, not binned.

    Args:
        label: float [clicks], in [0, 1].
        prediction: float [clicks].

    Raises:
        MalTfError: there is one class only.
    """
    found = _auc_or_nan(label, _ranks(prediction))
    if np.isnan(found):
        raise MalTfError(
            f"AUC needs clicks of both classes, found {int((label > 0).sum()):,} positives among {len(label):,} clicks; "
            "evaluate on more data or another target"
        )
    return found


def _auc_or_nan(label: np.ndarray, rank: np.ndarray) -> float:
    """AUC of all clicks as those of one user."""
    found = _per_user(np.zeros(len(label), np.int64), label, rank).auc
    return float(found[0]) if found.size else float("nan")


def per_user(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> PerUser:
    """AUC of every user at once: Σ over positives of w⁺ · (negatives below + half of the ties) / (Σ w⁺ · negatives).

    Args:
        user: int64 [clicks], user codes 0 … U − 1, each used.
        label: float [clicks].
        prediction: float [clicks].
    """
    return _per_user(user, label, _ranks(prediction))


def _per_user(user: np.ndarray, label: np.ndarray, rank: np.ndarray) -> PerUser:
    """As `per_user`, of the ranks of the predictions.

    Only the negatives are sorted, by user and rank in one integer; each positive then finds its place among them.
    """
    clicks = np.bincount(user)
    positive = np.flatnonzero(np.asarray(label) > 0)
    key = np.asarray(user).astype(np.uint64)
    key <<= np.uint64(32)
    key |= rank
    user_of, weight, key_of = user[positive], np.asarray(label)[positive].astype(np.float64), key[positive]
    key = np.delete(key, positive)
    key.sort()
    by_key = np.argsort(key_of)  # Neighbours find neighbouring places, which is what caches like.
    user_of, weight, key_of = user_of[by_key], weight[by_key], key_of[by_key]
    negatives = clicks - np.bincount(user_of, minlength=clicks.size)
    before_user = np.cumsum(negatives) - negatives
    below, up_to = (np.searchsorted(key, key_of, side) for side in ("left", "right"))
    won = np.bincount(user_of, weight * (0.5 * (below + up_to) - before_user[user_of]), clicks.size)
    pairs = np.bincount(user_of, weight, clicks.size) * negatives
    return PerUser(clicks, np.divide(won, pairs, out=np.full(clicks.size, np.nan), where=pairs > 0))


def _ranks(prediction: np.ndarray) -> np.ndarray:
    """uint32 [clicks], ordered and equal as the predictions are; NaN is above all.

    Numbers that float32 holds are ranked by their bits: those of negative ones are inverted, so that larger is less.
    """
    single = np.asarray(prediction, np.float32) + np.float32(0)  # −0 becomes 0.
    if not np.array_equal(single, prediction):
        return np.unique(prediction, return_inverse=True)[1].astype(np.uint32)
    bits = single.view(np.uint32)
    negative = single < 0
    bits ^= np.uint32(1 << 31)
    bits[negative] = ~bits[negative] ^ np.uint32(1 << 31)
    return bits


def gauc(found: PerUser) -> float:
    """Click-weighted mean of the AUC of users with both classes.

    Raises:
        MalTfError: no user has both classes.
    """
    both = ~np.isnan(found.auc)
    if not both.any():
        raise MalTfError(
            f"GAUC needs a user with clicks of both classes, found none among {both.size:,}; evaluate on more data"
        )
    return float(np.average(found.auc[both], weights=found.clicks[both]))


def log_loss(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean of `click_losses`."""
    starts = range(0, len(label), _CHUNK)
    sums = [np.sum(click_losses(label[n : n + _CHUNK], prediction[n : n + _CHUNK])) for n in starts]
    return float(np.sum(sums) / len(label)) if len(label) else float("nan")


def click_losses(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """−[l·log p + (1 − l)·log(1 − p)] of each click, float64 [clicks], the fractional label as the target."""
    p = np.clip(np.asarray(prediction, np.float64), _CLIP, 1 - _CLIP)
    return -(label * np.log(p) + (1 - label) * np.log1p(-p))


def pcoc(label: np.ndarray, prediction: np.ndarray) -> float:
    """Predicted over observed conversions, Σ prediction / Σ label; NaN without positives."""
    observed = float(np.sum(label, dtype=np.float64))
    return float(np.sum(prediction, dtype=np.float64)) / observed if observed else float("nan")


def calibration_error(label: np.ndarray, prediction: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean |mean prediction − mean label| over equal-mass bins of the prediction.

    Clicks of equal prediction share their mean label, so that it does not matter which of them falls into which bin.
    """
    found = equal_mass(label, prediction, bins)
    return float(np.abs(found.predicted - found.observed).sum() / max(len(label), 1))


def all_metrics(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Every metric: `auc`, `gauc`, `log_loss`, `pcoc`, `ece`, and what they are over.

    Raises:
        MalTfError: there is one class only, or no user has both.
    """
    found = metrics_or_nan(user, label, prediction)
    if np.isnan(found["auc"]):
        auc(label, prediction)
    if np.isnan(found["gauc"]):
        gauc(per_user(user, label, prediction))
    return found


def metrics_or_nan(user: np.ndarray, label: np.ndarray, prediction: np.ndarray, bins: int = 10) -> dict[str, float]:
    """As `all_metrics`; NaN, not an error, where a metric lacks a class; `bins` are those of the calibration error."""
    rank = _ranks(prediction)
    users = _per_user(user, label, rank)
    measured = int((~np.isnan(users.auc)).sum())
    return {
        "clicks": len(label),
        "positives": int((label > 0).sum()),
        "auc": _auc_or_nan(label, rank),
        "gauc": gauc(users) if measured else float("nan"),
        "gauc_users": measured,
        "log_loss": log_loss(label, prediction),
        "pcoc": pcoc(label, prediction),
        "ece": calibration_error(label, prediction, bins),
    }
