"""Level of the predictions over the course of a training: PCOC by step, and whether it has settled."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

#: Names of the metrics of a training: Σ predicted CVR and Σ label of the primary target over the mature clicks seen so far.
PREDICTIONS, LABELS = "primary_predictions", "primary_labels"

#: Number of parts that the end of a training is divided into, and the share of the steps that they cover.
_PARTS, _LAST_SHARE = 8, 0.25

#: The level has not settled if the PCOC of a part differs from 1 by more than this, and the p-value of the parts is below that.
_DISTANCE, _CHANCE = 0.1, 1e-3


@dataclasses.dataclass(frozen=True)
class Point:
    """Sums over all clicks that a training has seen up to a step, each scored before the model learned from it.

    Attributes:
        step: number of steps done.
        predictions: Σ predicted CVR of the primary target over mature clicks.
        labels: Σ label of the same clicks.
    """

    step: int
    predictions: float
    labels: float


def pcoc_between(points: Sequence[Point]) -> list[tuple[int, float, float]]:
    """PCOC between consecutive points.

    Returns:
        Step, PCOC of the clicks since the previous point, and Σ label of these clicks. Points without any label since the
        previous one are skipped.

    Example:
        >>> pcoc_between([Point(10, 6.0, 5.0), Point(20, 6.5, 5.0), Point(30, 15.0, 15.0)])
        [(10, 1.2, 5.0), (30, 0.9, 10.0)]
    """
    intervals, last = [], Point(0, 0.0, 0.0)
    for point in points:
        if (labels := point.labels - last.labels) > 0:
            intervals.append((point.step, (point.predictions - last.predictions) / labels, labels))
            last = point
    return intervals


def swinging(points: Sequence[Point]) -> list[float]:
    """PCOC of the parts of a training's last quarter, if they differ from 1 significantly and by more than a tenth.

    The test assumes that Σ label varies as a count of events, so that (Σ prediction − Σ label)² / Σ prediction is chi-squared.

    Args:
        points: points in the order of steps, the last at the end of the training.

    Returns:
        PCOC of each part; empty if the level has settled, or there are too few points or labels.

    Example:
        >>> rest = [Point(step, 10.0 * step, 10.0 * step) for step in range(1, 101)]
        >>> swinging(rest)
        []
        >>> swinging([*rest[:-1], Point(100, 990.0 + 210.0, 1000.0)])
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 6.0]
    """
    if len(points) < 2 * _PARTS:
        return []
    steps = np.array([point.step for point in points])
    ends = np.linspace(1 - _LAST_SHARE, 1, _PARTS + 1) * steps[-1]
    chosen = [points[place] for place in np.maximum(np.searchsorted(steps, ends, side="right") - 1, 0)]
    predictions, labels = (np.diff([getattr(point, name) for point in chosen]) for name in ("predictions", "labels"))
    if not (labels > 0).all():
        return []
    pcoc = predictions / labels
    chance = stats.chi2.sf(np.sum((predictions - labels) ** 2 / predictions), _PARTS)
    swings = chance < _CHANCE and np.abs(pcoc - 1).max() > _DISTANCE
    return [round(float(value), 3) for value in pcoc] if swings else []
