"""Which of two models is better, by how much, and whether that may be chance: intervals, p-values and readings of differences."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from mal_tf.evaluation.metric import HIGHER
from mal_tf.evaluation.metrics import registered_metrics
from mal_tf.evaluation.multiplicity import LEVEL

#: A metric's name to its values: of the clicks as they are, then of each resample.
Resampled = dict[str, np.ndarray]

#: How the difference of one model from another reads; open: not shown to be either.
Reading = Literal["better", "worse", "open"]

#: Differences no larger are rounding, and none.
_ROUNDING = 1e-12


def interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of resamples, float [samples, …] to both ends [...]; NaN are left out, NaN if none is left."""
    if not len(resampled):
        resampled = np.full((1, *resampled.shape[1:]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Nothing but NaN.
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    return low, high


def p_value(resampled: np.ndarray) -> float:
    """Two-sided p-value of a difference: twice the smaller share of resamples on one side of 0, 0 itself on both.

    This is the largest level at which the percentile interval holds 0 (Efron and Tibshirani, 1993, chapter 15). One is added
    to numerator and denominator, so that B resamples never give less than 2 / (B + 1) (Davison and Hinkley, 1997, 4.25).

    Args:
        resampled: float [resamples], the difference in each; NaN are left out. NaN if none is left.
    """
    finite = resampled[~np.isnan(resampled)]
    if not finite.size:
        return float("nan")
    beyond = min((finite <= _ROUNDING).sum(), (finite >= -_ROUNDING).sum())
    return float(min(2 * (1 + beyond) / (finite.size + 1), 1.0))


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
    generator, by_metric = np.random.default_rng(seed), {}
    for name in first[0]:
        means = [_mean([one[name] for one in model], generator) for model in (second, first)]
        gain = means[0] - means[1]
        low, high = map(float, interval(gain[1:]))
        by_metric[name] = {"difference": float(gain[0]), "low": low, "high": high, "p": p_value(gain[1:])}
    return by_metric


def losses(candidate: Resampled, reference: Resampled) -> dict[str, dict[str, float]]:
    """As `differences`, by how much a candidate is worse than a reference: positive is worse, whatever a metric's direction."""
    return differences([_losses(reference)], [_losses(candidate)])


def _losses(resampled: Resampled) -> Resampled:
    metrics = registered_metrics()
    return {name: metrics[name].loss(values) for name, values in resampled.items()}


def _mean(trainings: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """A metric's mean over trainings, then over as many of them drawn anew for each resample."""
    values = np.array(trainings)
    drawn = generator.integers(len(trainings), size=values.shape)
    drawn[:, 0] = np.arange(len(trainings))
    return np.take_along_axis(values, drawn, axis=0).mean(axis=0)


def lifts(values: np.ndarray, base: int) -> np.ndarray:
    """Values, float64 [rows, arms, …], over those of the arm of number `base`, minus 1; NaN where that arm's are not above 0."""
    other = values[:, base : base + 1]
    return np.divide(values, other, out=np.full(values.shape, np.nan), where=other > 0) - 1


def has_direction(metric: str) -> bool:
    """Whether more of a registered metric is better, or less; others have a best value."""
    metrics = registered_metrics()
    return metric in metrics and isinstance(metrics[metric].better, str)


def reading(metric: str, difference: Mapping[str, float | None]) -> tuple[Reading, bool]:
    """How a difference in a metric with a direction reads, and whether it still does after correction for many comparisons.

    Args:
        metric: its name.
        difference: `low` and `high`, None if unknown, and `adjusted_p` where it was corrected.
    """
    low, high, adjusted = (difference.get(key) for key in ("low", "high", "adjusted_p"))
    if low is None or high is None or low <= 0 <= high:
        return "open", True
    higher = registered_metrics()[metric].better == HIGHER
    return "better" if (low > 0) == higher else "worse", adjusted is None or adjusted < LEVEL
