"""Metrics for fractional labels (AUC, GAUC, log-loss, PCOC, calibration error), and the registry for metrics of your own.

In AUC and GAUC, a click with label l > 0 is a positive of weight l, any other a negative of weight 1.

Example:
    >>> import mal_tf
    >>> import numpy as np
    >>> label, prediction = np.array([1.0, 0.0, 0.5, 0.0]), np.array([0.6, 0.2, 0.1, 0.1])
    >>> round(mal_tf.metrics.auc(label, prediction), 3), mal_tf.metrics.pcoc(label, prediction)
    (0.75, 0.6666666666666666)
"""

import functools
import importlib.metadata
from collections.abc import Mapping

import numpy as np

from features.errors import MalTfError, named_errors
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

#: Group of entry points by which installed packages register metrics. Each names a `Metric` object or class.
ENTRY_POINTS = "mal_tf.metrics"

#: Distance that predictions keep from 0 and 1 in the log-loss.
_CLIP = 1e-7

#: Clicks whose losses are computed at a time.
_CHUNK = 1 << 20


def auc(label: np.ndarray, prediction: np.ndarray) -> float:
    """Exact area under the ROC curve, with ties counted one half.

    Args:
        label: float [clicks], in [0, 1].
        prediction: float [clicks].

    Raises:
        MalTfError: the clicks have only one class.

    Example:
        >>> auc(np.array([1.0, 0.0, 0.0]), np.array([0.4, 0.4, 0.1]))
        0.75
    """
    value = _auc_or_nan(label, ranks(prediction))
    if np.isnan(value):
        raise MalTfError(
            f"AUC needs clicks of both classes, found {int((label > 0).sum()):,} positives among {len(label):,} clicks; "
            "evaluate on more data or another target"
        )
    return value


def _auc_or_nan(label: np.ndarray, rank: np.ndarray) -> float:
    """AUC of all clicks, computed as if they were of one user."""
    values = Pairs(np.zeros(len(label), np.int64), label, rank).auc().auc
    return float(values[0]) if values.size else float("nan")


def gauc(by_user: PerUser) -> float:
    """GAUC: click-weighted mean of the AUC of users with both classes.

    Args:
        by_user: AUC of each user, see `per_user`.

    Raises:
        MalTfError: no user has both classes.

    Example:
        >>> user, label = np.array([0, 0, 1, 1, 2]), np.array([1.0, 0.0, 1.0, 0.0, 1.0])
        >>> gauc(per_user(user, label, np.array([0.3, 0.1, 0.1, 0.3, 0.2])))
        0.5
    """
    both = ~np.isnan(by_user.auc)
    if not both.any():
        raise MalTfError(
            f"GAUC needs a user with clicks of both classes, found none among {both.size:,}; evaluate on more data"
        )
    return float(np.average(by_user.auc[both], weights=by_user.clicks[both]))


def log_loss(label: np.ndarray, prediction: np.ndarray) -> float:
    """Mean of `click_losses`; NaN without clicks.

    Example:
        >>> round(log_loss(np.array([1.0, 0.5]), np.array([0.5, 0.5])), 4)
        0.6931
    """
    starts = range(0, len(label), _CHUNK)
    sums = [np.sum(click_losses(label[n : n + _CHUNK], prediction[n : n + _CHUNK])) for n in starts]
    return float(np.sum(sums) / len(label)) if len(label) else float("nan")


def click_losses(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Log-loss −[l·log p + (1 − l)·log(1 − p)] of each click with its fractional label l as the target: float64 [clicks]."""
    p = np.clip(np.asarray(prediction, np.float64), _CLIP, 1 - _CLIP)
    return -(label * np.log(p) + (1 - label) * np.log1p(-p))


def pcoc(label: np.ndarray, prediction: np.ndarray) -> float:
    """PCOC, predicted over observed conversions: Σ prediction / Σ label; NaN without positives.

    Example:
        >>> pcoc(np.array([1.0, 0.0]), np.array([0.75, 0.5]))
        1.25
    """
    observed = float(np.sum(label, dtype=np.float64))
    return float(np.sum(prediction, dtype=np.float64)) / observed if observed else float("nan")


def calibration_error(label: np.ndarray, prediction: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (ECE): mean |mean prediction − mean label| over equal-mass bins of the prediction.

    Clicks with equal predictions share their mean label, so that their order does not matter.

    Example:
        >>> calibration_error(np.array([1.0, 0.0]), np.array([0.75, 0.25]), bins=2)
        0.25
    """
    in_bins = equal_mass(label, prediction, bins)
    return float(np.abs(in_bins.predicted - in_bins.observed).sum() / max(len(label), 1))


class Auc(Metric):
    """Area under the ROC curve, see `auc`."""

    name, title, better = "auc", "AUC", HIGHER
    summary = "ranks a random positive above a random negative"
    needs = "clicks of both classes"
    limits = (0.0, 1.0)
    ranking = True

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return _auc_or_nan(clicks.label, clicks.rank)

    def carriers(self, users: int, positive: int, both: int) -> int:
        """Number of users with clicks of the class that fewer users have."""
        return min(positive, users - positive + both)


class Gauc(RatioMetric):
    """Click-weighted mean of the AUC within users, see `gauc`."""

    name, title, better = "gauc", "GAUC", HIGHER
    summary = "the same within a user, weighted by clicks"
    needs = "a user with clicks of both classes"
    limits = (0.0, 1.0)
    ranking = True

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return float("nan") if np.isnan(clicks.by_user.auc).all() else gauc(clicks.by_user)

    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """AUC times clicks, and clicks, of each user with both classes."""
        by_user = clicks.by_user
        mass = np.where(np.isnan(by_user.auc), 0, by_user.clicks).astype(np.float64)
        return np.nan_to_num(by_user.auc) * mass, mass

    def carriers(self, users: int, positive: int, both: int) -> int:
        """Number of users with both classes."""
        return both


class LogLoss(RatioMetric):
    """Mean log-loss, see `log_loss`."""

    name, title, better = "log_loss", "log-loss", LOWER
    summary = "less is better"
    limits = (0.0, np.inf)
    headline = False

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return log_loss(clicks.label, clicks.prediction)

    def parts(self, clicks: Clicks) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the losses, and number of clicks, of each user."""
        return clicks.per_user(click_losses(clicks.label, clicks.prediction)), clicks.per_user()


class Pcoc(RatioMetric):
    """Predicted over observed conversions, see `pcoc`."""

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
        """Sum of the predictions, and of the labels, of each user."""
        return clicks.per_user(clicks.prediction), clicks.per_user(clicks.label)


class CalibrationError(Metric):
    """Expected calibration error, see `calibration_error`. It has no intervals, because resampling adds noise to the bins."""

    name, title, better = "ece", "ECE", LOWER
    summary = "mean distance of prediction and label over bins of the prediction"
    limits = (0.0, 1.0)
    headline = False

    def value(self, clicks: Clicks) -> float:
        """See `Metric.value`."""
        return calibration_error(clicks.label, clicks.prediction, clicks.bins)


_REGISTERED: dict[str, Metric] = {}


def register_metric(metric: Metric | type[Metric]) -> Metric | type[Metric]:
    """Registers a metric. As a decorator of a class, it registers an instance created without arguments.

    Installed packages can register metrics with entry points of the group `mal_tf.metrics` instead. Registering a class
    again, such as by running a notebook's cell again, replaces it.

    Raises:
        MalTfError: another metric has the same name.
    """
    instance = metric() if isinstance(metric, type) else metric
    own, other = (
        f"{type(one).__module__}.{type(one).__qualname__}"
        for one in (instance, _REGISTERED.get(instance.name, instance))
    )
    if own != other:
        raise MalTfError(f"metric '{instance.name}': expected a name of its own, found that of {other}; rename it")
    _REGISTERED[instance.name] = instance
    return metric


for _standard in (Auc, Gauc, LogLoss, Pcoc, CalibrationError):
    register_metric(_standard)


def registered_metrics() -> Mapping[str, Metric]:
    """All registered metrics by name, first the built-in ones."""
    _register_installed()
    return _REGISTERED


def additive_metrics() -> Mapping[str, Metric]:
    """Registered metrics that can be resampled, and so have intervals and differences between models: ratios and AUC."""
    metrics = registered_metrics().items()
    return {name: metric for name, metric in metrics if isinstance(metric, RatioMetric) or type(metric) is Auc}


def level_metrics() -> Mapping[str, Metric]:
    """Registered metrics that depend on the level of the predictions and not only on their order; calibration changes them."""
    return {name: metric for name, metric in registered_metrics().items() if not metric.ranking}


@functools.cache
def _register_installed() -> None:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        with named_errors(f"metric '{entry.name}' of {ENTRY_POINTS}, {entry.value}"):
            register_metric(entry.load())


def all_metrics(user: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Computes every registered metric, and the numbers of `clicks`, `positives` and `gauc_users` (users with both classes).

    Args:
        user: int64 [clicks], user codes 0 … U − 1, all of which occur.
        label: float [clicks], in [0, 1].
        prediction: float [clicks].

    Raises:
        MalTfError: the clicks have only one class, or no user has both.
    """
    values = metrics_or_nan(user, label, prediction)
    if np.isnan(values["auc"]):
        auc(label, prediction)
    if np.isnan(values["gauc"]):
        gauc(per_user(user, label, prediction))
    return values


def _value(metric: Metric, clicks: Clicks) -> float:
    """Value of a metric; NaN also where one of a user's own raises, as libraries do, because a class is missing."""
    try:
        with named_errors(f"metric '{metric.name}', value"):
            return metric.value(clicks)
    except MalTfError:
        if np.unique(clicks.label > 0).size == 2:
            raise
        return float("nan")


def metrics_or_nan(user: np.ndarray, label: np.ndarray, prediction: np.ndarray, bins: int = 10) -> dict[str, float]:
    """Computes what `all_metrics` does, with NaN instead of an error if a class is missing; `bins` are for the ECE."""
    clicks = Clicks(user, label, prediction, bins)
    counts = {"clicks": len(label), "positives": int((label > 0).sum())}
    values = {name: _value(metric, clicks) for name, metric in registered_metrics().items()}
    return counts | values | {"gauc_users": int((~np.isnan(clicks.by_user.auc)).sum())}
