"""Comparison of two models by resampled metrics: differences with intervals and p-values, and how they read."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from mal_tf.evaluation.metric import HIGHER
from mal_tf.evaluation.metrics import registered_metrics
from mal_tf.evaluation.multiplicity import LEVEL

#: Values of each metric by name: that of the actual clicks, then those of the resamples.
Resampled = dict[str, np.ndarray]

#: Verdict on the difference of one model from another; `open` if neither is shown.
Reading = Literal["better", "worse", "open"]

#: Differences up to this size are rounding errors.
_ROUNDING = 1e-12

#: Half the width of a 95% interval, and the detectable difference, in standard errors: z(.975), and z(.975) + z(.8).
_HALF_WIDTH, _DETECTABLE = 1.959964, 2.801585


def interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of resamples: float [samples, …] to low and high [...]. NaN are left out; NaN if none is left."""
    if not len(resampled):
        resampled = np.full((1, *resampled.shape[1:]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # raised where all values are NaN
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    return low, high


def p_value(resampled: np.ndarray) -> float:
    """Two-sided p-value of a difference: twice the smaller share of resamples on one side of 0, with 0 on both sides.

    This is the largest level at which the percentile interval contains 0 (Efron and Tibshirani, 1993, chapter 15). One is
    added to numerator and denominator, so that B resamples never give less than 2 / (B + 1) (Davison and Hinkley, 1997, 4.25).

    Args:
        resampled: float [resamples], the difference in each; NaN are left out.

    Returns:
        The p-value; NaN if no resample is left.
    """
    finite = resampled[~np.isnan(resampled)]
    if not finite.size:
        return float("nan")
    beyond = min((finite <= _ROUNDING).sum(), (finite >= -_ROUNDING).sum())
    return float(min(2 * (1 + beyond) / (finite.size + 1), 1.0))


def differences(first: Sequence[Resampled], second: Sequence[Resampled], seed: int = 0) -> dict[str, dict[str, float]]:
    """Differences second − first, with 95% percentile intervals over the resamples and p-values.

    For a model trained several times, each resample of the users also resamples its trainings. With few trainings the
    interval is still slightly too narrow.

    Args:
        first: metrics of one model, an entry per training (by seed), over which the mean is taken.
        second: metrics of the other model, likewise.
        seed: seed of the draws of trainings.

    Returns:
        `{metric: {"difference", "low", "high", "p"}}`; see `p_value`.
    """
    generator, by_metric = np.random.default_rng(seed), {}
    for name in first[0]:
        means = [_mean([training[name] for training in model], generator) for model in (second, first)]
        gain = means[0] - means[1]
        low, high = map(float, interval(gain[1:]))
        by_metric[name] = {"difference": float(gain[0]), "low": low, "high": high, "p": p_value(gain[1:])}
    return by_metric


def losses(candidate: Resampled, reference: Resampled) -> dict[str, dict[str, float]]:
    """How much worse a candidate is than a reference, as `differences`; positive is worse for every metric."""
    return differences([_losses(reference)], [_losses(candidate)])


def _losses(resampled: Resampled) -> Resampled:
    metrics = registered_metrics()
    return {name: metrics[name].loss(values) for name, values in resampled.items()}


def _mean(trainings: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Mean of a metric over trainings, and for each resample over as many trainings drawn with replacement."""
    values = np.array(trainings)
    drawn = generator.integers(len(trainings), size=values.shape)
    drawn[:, 0] = np.arange(len(trainings))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def detectable(difference: Mapping[str, float | None]) -> float | None:
    """Smallest true difference that the same number of users would show with a probability of 80%, in a single comparison.

    A two-sided test at the level of 5% has this power for a difference of z(.975) + z(.8) = 2.80 standard errors (Cohen, 1988,
    chapter 2). The standard error is taken from the interval, as its width divided by 3.92. It falls with the square root of the
    number of users, so a difference d needs (detectable / d)² times as many.

    Args:
        difference: `low` and `high`, None if unknown, as `differences` returns them.

    Returns:
        The difference, without sign; None if there is no interval.

    Example:
        >>> round(detectable({"low": -0.01, "high": 0.03}), 4)
        0.0286
    """
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None or not high > low:
        return None
    return (high - low) / 2 / _HALF_WIDTH * _DETECTABLE


def lifts(values: np.ndarray, base: int) -> np.ndarray:
    """Relative lift of each arm over the arm `base`: float64 [rows, arms, …]; NaN where the base is not above 0."""
    reference = values[:, base : base + 1]
    return np.divide(values, reference, out=np.full(values.shape, np.nan), where=reference > 0) - 1


def has_direction(metric: str) -> bool:
    """Whether a registered metric is better when higher or lower, instead of having a best value."""
    metrics = registered_metrics()
    return metric in metrics and isinstance(metrics[metric].better, str)


def reading(metric: str, difference: Mapping[str, float | None]) -> tuple[Reading, bool]:
    """Verdict on the difference of a metric that has a direction.

    Args:
        metric: name of the metric.
        difference: `low` and `high`, None if unknown, and `adjusted_p` if corrected for multiple comparisons.

    Returns:
        The verdict, and whether it holds after the correction.
    """
    low, high, adjusted = (difference.get(key) for key in ("low", "high", "adjusted_p"))
    if low is None or high is None or low <= 0 <= high:
        return "open", True
    higher = registered_metrics()[metric].better == HIGHER
    return "better" if (low > 0) == higher else "worse", adjusted is None or adjusted < LEVEL
