"""The metrics: AUC, GAUC, log-loss, PCOC and calibration error of fractional labels, and the registry that users add theirs to.

Throughout, a click with label l > 0 is a positive of weight l, any other a negative of weight 1.
"""

import functools
import importlib.metadata
from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError
from mal_tf.evaluation.calibration import equal_mass
from mal_tf.evaluation.metric import HIGHER, LOWER, Clicks, Metric, RatioMetric
from mal_tf.evaluation.ranking import Pairs, PerUser, per_user, ranks

__all__ = [
    "HIGHER",
    "LOWER",
    "Auc",
    "CalibrationError",
    "Clicks",
    "Gauc",
    "LogLoss",
    "Metric",
    "Pcoc",
    "PerUser",
    "RatioMetric",
    "additive_metrics",
    "all_metrics",
    "auc",
    "calibration_error",
    "click_losses",
    "gauc",
    "level_metrics",
    "log_loss",
    "metrics_or_nan",
    "pcoc",
    "per_user",
    "register_metric",
    "registered_metrics",
]

#: Entry points of installed packages whose metrics are registered by themselves; each names a `Metric` or a class of one.
ENTRY_POINTS = "mal_tf.metrics"

#: Predictions are kept this far from 0 and 1 in the log-loss.
_CLIP = 1e-7

#: Clicks whose losses are computed at a time.
_CHUNK = 1 << 20


def auc(label: np.ndarray, prediction: np.ndarray) -> float:
    """Area under the ROC curve; ties count one half; exact, not binned.

    Args:
        label: float [clicks], in [0, 1].
        prediction: float [clicks].

    Raises:
        MalTfError: there is one class only.
    """
    value = _auc_or_nan(label, ranks(prediction))
    if np.isnan(value):
        raise MalTfError(
            f"AUC needs clicks of both classes, found {int((label > 0).sum()):,} positives among {len(label):,} clicks; "
            "evaluate on more data or another target"
        )
    return value


def _auc_or_nan(label: np.ndarray, rank: np.ndarray) -> float:
    """AUC of all clicks as those of one user."""
    of_all = Pairs(np.zeros(len(label), np.int64), label, rank).auc().auc
    return float(of_all[0]) if of_all.size else float("nan")


def gauc(by_user: PerUser) -> float:
    """Click-weighted mean of the AUC of users with both classes.

    Raises:
        MalTfError: no user has both classes.
    """
    both = ~np.isnan(by_user.auc)
    if not both.any():
        raise MalTfError(
            f"GAUC needs a user with clicks of both classes, found none among {both.size:,}; evaluate on more data"
        )
    return float(np.average(by_user.auc[both], weights=by_user.clicks[both]))


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
    in_bins = equal_mass(label, prediction, bins)
    return float(np.abs(in_bins.predicted - in_bins.observed).sum() / max(len(label), 1))


class Auc(Metric):
    """See `auc`."""

    name, title, better = "auc", "AUC", HIGHER
    summary = "ranks a random positive above a random negative"
    needs = "clicks of both classes"
    limits = (0.0, 1.0)
    additive = True
    ranking = True

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return _auc_or_nan(clicks.label, clicks.rank)

    def carriers(self, users: int, positive: int, both: int) -> int:
        """The users of the class that has fewer."""
        return min(positive, users - positive + both)


class Gauc(RatioMetric):
    """See `gauc`."""

    name, title, better = "gauc", "GAUC", HIGHER
    summary = "the same within a user, weighted by clicks"
    needs = "a user with clicks of both classes"
    limits = (0.0, 1.0)
    ranking = True

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return float("nan") if np.isnan(clicks.by_user.auc).all() else gauc(clicks.by_user)

    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """AUC times clicks, and clicks, of users with both classes."""
        by_user = clicks.by_user
        mass = np.where(np.isnan(by_user.auc), 0, by_user.clicks).astype(np.float64)
        return np.nan_to_num(by_user.auc) * mass, mass

    def carriers(self, users: int, positive: int, both: int) -> int:
        """The users with both classes."""
        return both


class LogLoss(RatioMetric):
    """See `log_loss`."""

    name, title, better = "log_loss", "log-loss", LOWER
    summary = "less is better"
    limits = (0.0, np.inf)
    headline = False

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return log_loss(clicks.label, clicks.prediction)

    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Losses, and clicks."""
        return clicks.per_user(click_losses(clicks.label, clicks.prediction)), clicks.per_user()


class Pcoc(RatioMetric):
    """See `pcoc`."""

    name, title, better = "pcoc", "PCOC", 1.0
    summary = "predicted over observed; 1 is calibrated"
    needs = "positives and finite predictions"
    digits = 3
    limits = (0.0, np.inf)
    headline = False

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return pcoc(clicks.label, clicks.prediction)

    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Predictions, and labels."""
        return clicks.per_user(clicks.prediction), clicks.per_user(clicks.label)


class CalibrationError(Metric):
    """See `calibration_error`. Without intervals: a resample has more noise in its bins than the clicks have."""

    name, title, better = "ece", "ECE", LOWER
    summary = "mean distance of prediction and label over bins of the prediction"
    limits = (0.0, 1.0)
    headline = False

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return calibration_error(clicks.label, clicks.prediction, clicks.bins)


_REGISTERED: dict[str, Metric] = {}


def register_metric(metric: Metric | type[Metric]) -> Metric | type[Metric]:
    """Adds a metric to the registry; may decorate its class, which is then made without arguments.

    A package that is installed does so by itself with an entry point of the group `mal_tf.metrics`.

    Raises:
        MalTfError: there is another metric of that name.
    """
    made = metric() if isinstance(metric, type) else metric
    there = _REGISTERED.setdefault(made.name, made)
    if type(there) is not type(made):
        raise MalTfError(
            f"metric '{made.name}': expected a name of its own, found that of {type(there).__module__}."
            f"{type(there).__qualname__}; rename it"
        )
    return metric


for _standard in (Auc, Gauc, LogLoss, Pcoc, CalibrationError):
    register_metric(_standard)


def registered_metrics() -> Mapping[str, Metric]:
    """All metrics by name: those of mal-tf, then users' own."""
    _register_installed()
    return _REGISTERED


def additive_metrics() -> Mapping[str, Metric]:
    """The metrics that can be resampled, and so have intervals and differences between models."""
    return {name: metric for name, metric in registered_metrics().items() if metric.additive}


def level_metrics() -> Mapping[str, Metric]:
    """The metrics that compare predictions with labels, not with each other: what calibration changes."""
    return {name: metric for name, metric in registered_metrics().items() if not metric.ranking}


@functools.cache
def _register_installed() -> None:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        register_metric(entry.load())


def all_metrics(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Every registered metric by name, and what they are over: `clicks`, `positives`, `gauc_users`.

    Raises:
        MalTfError: there is one class only, or no user has both.
    """
    values = metrics_or_nan(user, label, prediction)
    if np.isnan(values["auc"]):
        auc(label, prediction)
    if np.isnan(values["gauc"]):
        gauc(per_user(user, label, prediction))
    return values


def metrics_or_nan(user: np.ndarray, label: np.ndarray, prediction: np.ndarray, bins: int = 10) -> dict[str, float]:
    """As `all_metrics`; NaN, not an error, where a metric lacks a class; `bins` are those of the calibration error."""
    clicks = Clicks(user, label, prediction, bins)
    counts = {"clicks": len(label), "positives": int((label > 0).sum())}
    values = {name: metric.value(clicks) for name, metric in registered_metrics().items()}
    return counts | values | {"gauc_users": int((~np.isnan(clicks.by_user.auc)).sum())}
