"""The level of predictions over the course of a training: PCOC, and whether it has settled."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

#: Metrics of a training: Σ predicted CVR and Σ label of the primary target, of the mature clicks seen so far.
PREDICTIONS, LABELS = "primary_predictions", "primary_labels"

#: The end of a training is looked at in so many parts, which are its last share.
_PARTS, _LAST_SHARE = 8, 0.25

#: A level swings if a part's PCOC is further from 1 than this, and chance would make parts so different less often than that.
_DISTANCE, _CHANCE = 0.1, 1e-3


@dataclasses.dataclass(frozen=True)
class Point:
    """Sums over all clicks that a training has seen up to a step, each scored before the model learned from it.

    Attributes:
        step: steps done.
        predictions: Σ predicted CVR of the primary target, of mature clicks.
        labels: Σ label of the same clicks.
    """

    step: int
    predictions: float
    labels: float


def pcoc_between(points: Sequence[Point]) -> list[tuple[int, float, float]]:
    """Step, PCOC since the point before, and Σ label of these clicks; points between which there is no label are passed over.

    Example:
        >>> pcoc_between([Point(10, 6.0, 5.0), Point(20, 6.5, 5.0), Point(30, 15.0, 15.0)])
        [(10, 1.2, 5.0), (30, 0.9, 10.0)]
    """
    found, last = [], Point(0, 0.0, 0.0)
    for point in points:
        if (labels := point.labels - last.labels) > 0:
            found.append((point.step, (point.predictions - last.predictions) / labels, labels))
            last = point
    return found


def swinging(points: Sequence[Point]) -> list[float]:
    """PCOC of the parts of a training's last quarter, if they differ from 1 by more than chance and by more than a tenth.

    By chance Σ label is taken to vary as a count of events: (Σ prediction − Σ label)² / Σ prediction is chi-squared.

    Args:
        points: in the order of steps, the last at the end of the training.

    Returns:
        PCOC of each part; empty if the level has settled, or nothing can be said.

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
