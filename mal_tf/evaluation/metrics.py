"""AUC, GAUC, log-loss, PCOC and calibration error of fractional labels, exactly as DESIGN §6 defines them.

Throughout, a click with label l > 0 is a positive of weight l, any other a negative of weight 1.
"""

import dataclasses

import numpy as np

from features.errors import MalTfError

#: Predictions are kept this far from 0 and 1 in the log-loss.
_CLIP = 1e-7


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
    found = per_user(np.zeros(len(label), np.int64), label, prediction).auc
    if not found.size or np.isnan(found[0]):
        raise MalTfError(
            f"AUC needs clicks of both classes, found {int((label > 0).sum()):,} positives among {len(label):,} clicks; "
            "evaluate on more data or another target"
        )
    return float(found[0])


def per_user(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> PerUser:
    """AUC of every user at once: Σ over positives of w⁺ · (negatives below + half of the ties) / (Σ w⁺ · negatives).

    Args:
        user: int64 [clicks], user codes 0 … U − 1, each used.
        label: float [clicks].
        prediction: float [clicks].
    """
    order = np.lexsort((prediction, user))
    user, label, prediction = user[order], np.asarray(label, np.float64)[order], np.asarray(prediction)[order]
    negative = label <= 0
    clicks = np.bincount(user)
    new_tie = np.ones(user.size, bool)
    new_tie[1:] = (np.diff(user) != 0) | (np.diff(prediction) != 0)
    tie = np.cumsum(new_tie) - 1
    negatives_of_tie = np.bincount(tie, negative).astype(np.int64)
    negatives_of_user = np.bincount(user, negative, clicks.size).astype(np.int64)
    before_tie = np.cumsum(negatives_of_tie) - negatives_of_tie
    before_user = np.cumsum(negatives_of_user) - negatives_of_user
    below = before_tie[tie] - before_user[user] + 0.5 * negatives_of_tie[tie]
    weight = np.where(negative, 0.0, label)
    pairs = np.bincount(user, weight, clicks.size) * negatives_of_user
    won = np.bincount(user, weight * below, clicks.size)
    return PerUser(clicks, np.divide(won, pairs, out=np.full(clicks.size, np.nan), where=pairs > 0))


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
    return float(np.mean(click_losses(label, prediction)))


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
    order = np.argsort(prediction, kind="stable")
    prediction, label = np.asarray(prediction, np.float64)[order], np.asarray(label, np.float64)[order]
    tie = np.unique(prediction, return_inverse=True)[1]
    label = (np.bincount(tie, label) / np.bincount(tie))[tie]
    parts = np.arange(order.size) * bins // max(order.size, 1)
    return float(np.abs(np.bincount(parts, prediction - label)).sum() / max(order.size, 1))


def all_metrics(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Every metric: `auc`, `gauc`, `log_loss`, `pcoc`, `ece`, and what they are over.

    Raises:
        MalTfError: there is one class only, or no user has both.
    """
    area, users = auc(label, prediction), per_user(user, label, prediction)
    return {
        "clicks": len(label),
        "positives": int((label > 0).sum()),
        "auc": area,
        "gauc": gauc(users),
        "gauc_users": int((~np.isnan(users.auc)).sum()),
        "log_loss": log_loss(label, prediction),
        "pcoc": pcoc(label, prediction),
        "ece": calibration_error(label, prediction),
    }
