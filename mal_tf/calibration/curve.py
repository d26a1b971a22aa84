"""Calibration curves: increasing maps of a model's logit, by isotonic regression or by Platt's method."""

import dataclasses

import numpy as np
from scipy.optimize import brentq, isotonic_regression, minimize
from scipy.special import expit
from scipy.special import logit as log_odds

from features.errors import MalTfError

#: Logits are clipped to ± this. Beyond it, float32 probabilities can't be told apart.
LIMIT = 40.0

#: Cells per unit of logit. Isotonic regression pools clicks whose logits are in the same cell, so that the probabilities
#: within one differ by 6% and no curve is so steep that it amplifies rounding errors.
_CELLS = 16

#: Least positive credit, and least of the rest, behind each knot of an isotonic curve. With 30 positives, the standard error
#: of their rate is 18% of it.
_FEWEST = 30.0

#: Slopes below this count as zero: the labels do not rise with the logits.
_FLATTEST = 1e-3

#: Norm of the mean log-loss's gradient at which the logistic regression has converged.
_CONVERGED = 1e-10


@dataclasses.dataclass(frozen=True)
class Curve:
    """A piecewise linear, strictly increasing map of logits, which neither reorders clicks nor ties them.

    Attributes:
        x: float64 [knots], ascending logits of the model.
        y: float64 [knots], ascending calibrated logits.
        slope: slope below the first knot and above the last, > 0.
    """

    x: np.ndarray
    y: np.ndarray
    slope: float

    def __call__(self, logit: np.ndarray) -> np.ndarray:
        """Maps logits, float [clicks], which are clipped to ± `LIMIT`, to calibrated logits, float64 [clicks]."""
        logit = np.clip(np.asarray(logit, np.float64), -LIMIT, LIMIT)
        beyond = np.minimum(logit - self.x[0], 0) + np.maximum(logit - self.x[-1], 0)
        return np.interp(logit, self.x, self.y) + self.slope * beyond


def isotonic(logit: np.ndarray, label: np.ndarray) -> Curve:
    """Isotonic regression of the labels on the logits (Zadrozny and Elkan, KDD 2002), made continuous.

    Isotonic regression yields a step function, which ties the clicks of a step and lowers the AUC. Here each step becomes a
    knot at the mean logit and the mean label of its clicks. The curve is linear between knots and has slope 1 beyond them,
    so it keeps the ranking. Before the regression, clicks in the same 1/16 of a logit are pooled. After it, steps are merged
    until each has 30 of credit and 30 of the rest, so that no knot is at 0 or 1 or depends on a few clicks; with fewer in
    total, one knot is left. A final shift restores Σ prediction = Σ label, which interpolation changes.

    Args:
        logit: float [clicks], logits of a model.
        label: float [clicks], in [0, 1].

    Raises:
        MalTfError: the labels are all 0, or all 1.
    """
    logit, label = _checked(logit, label)
    cells, cell = np.unique(np.floor(logit * _CELLS), return_inverse=True)
    clicks, credit = np.bincount(cell), np.bincount(cell, label)
    steps = isotonic_regression(credit / clicks, weights=clicks).blocks[:-1]
    step_clicks, step_credit = (np.add.reduceat(values, steps) for values in (clicks, credit))
    knots = steps[_first_steps(step_clicks, step_credit)]
    knot_clicks, knot_credit, knot_logits = (
        np.add.reduceat(values, knots) for values in (clicks, credit, clicks * (cells + 0.5) / _CELLS)
    )
    return _unbiased(Curve(knot_logits / knot_clicks, log_odds(knot_credit / knot_clicks), 1.0), logit, label)


def _first_steps(clicks: np.ndarray, credit: np.ndarray) -> list[int]:
    """First step of each knot, such that each knot has at least `_FEWEST` of credit and of the rest."""
    first, positive, negative = [0], 0.0, 0.0
    for step, (step_clicks, step_credit) in enumerate(zip(clicks, credit, strict=True)):
        if min(positive, negative) >= _FEWEST:
            first.append(step)
            positive = negative = 0.0
        positive, negative = positive + step_credit, negative + step_clicks - step_credit
    return first[:-1] if min(positive, negative) < _FEWEST and len(first) > 1 else first


def platt(logit: np.ndarray, label: np.ndarray) -> Curve:
    """Logistic regression of the labels on the logits: a·logit + b (Platt, 1999).

    The targets are Platt's smoothed ones, (N⁺ + 1)/(N⁺ + 2) and 1/(N⁻ + 2), so that the optimum is finite even if a threshold
    on the logits separates the classes. A fractional label l counts as l of a positive and 1 − l of a negative. If labels do
    not rise with the logits, or all logits are equal, the curve is the constant shift with Σ prediction = Σ label, so that the
    ranking is never reversed.

    Args:
        logit: float [clicks], logits of a model.
        label: float [clicks], in [0, 1].

    Raises:
        MalTfError: the labels are all 0, or all 1.
    """
    logit, label = _checked(logit, label)
    centre, positives = float(logit.mean()), label.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (label.size - positives + 2)
    x, target = logit - centre, label * high + (1 - label) * low
    shift = Curve(np.array([centre]), np.array([centre]), 1.0)
    if np.ptp(logit) < 1 / _CELLS:
        return _unbiased(shift, logit, label)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = weights[0] * x + weights[1]
        error = expit(z) - target
        return float(np.mean(np.logaddexp(0, z) - target * z)), np.array([np.mean(error * x), np.mean(error)])

    def hessian(weights: np.ndarray) -> np.ndarray:
        p = expit(weights[0] * x + weights[1])
        variance = p * (1 - p)
        across = np.mean(variance * x)
        return np.array([[np.mean(variance * x * x), across], [across, np.mean(variance)]])

    start = [0.0, log_odds(target.mean())]
    # The search may also end above _CONVERGED, where rounding hides differences of the loss, so `success` is not checked.
    slope, intercept = minimize(
        loss, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": _CONVERGED}
    ).x
    if slope < _FLATTEST:
        return _unbiased(shift, logit, label)
    return Curve(np.array([centre]), np.array([intercept]), float(slope))


def _checked(logit: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits, clipped to ± `LIMIT`, and labels as float64; raises MalTfError unless there are both classes."""
    logit, label = np.clip(np.asarray(logit, np.float64), -LIMIT, LIMIT), np.asarray(label, np.float64)
    if not 0 < label.sum() < label.size:
        raise MalTfError(
            f"calibration needs clicks of both classes, found credit of {label.sum():g} among {label.size:,} clicks; hold out "
            "more (calibration.segments)"
        )
    return logit, label


def _unbiased(curve: Curve, logit: np.ndarray, label: np.ndarray) -> Curve:
    """The curve shifted so that Σ prediction = Σ label."""
    mapped, credit = curve(logit), label.sum()
    shift = brentq(lambda by: float(expit(mapped + by).sum() - credit), -4 * LIMIT, 4 * LIMIT, xtol=1e-12)
    return dataclasses.replace(curve, y=curve.y + shift)
