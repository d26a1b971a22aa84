"""Calibration curve: what was predicted against what was observed, in equal-mass bins of the prediction."""

import dataclasses

import numpy as np

#: 97.5% quantile of the normal distribution.
_Z = 1.959963984540054

#: A variance this many times below that of independent clicks is the rounding of none.
_ROUNDING = 1e6


@dataclasses.dataclass(frozen=True)
class EqualMass:
    """Clicks in bins of equal mass by their prediction.

    Clicks of equal prediction are never told apart: where their bins meet, each belongs to both by the same shares.

    Attributes:
        clicks: int64 [bins].
        predicted: float64 [bins], Σ prediction.
        observed: float64 [bins], Σ label.
        part: int64 [clicks], which part of the clicks each is in: those of equal prediction at a border between bins are a
            part, and those between two borders.
        share: float64 [parts, bins], share of a part that is in a bin.
    """

    clicks: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    part: np.ndarray
    share: np.ndarray


def equal_mass(label: np.ndarray, prediction: np.ndarray, bins: int) -> EqualMass:
    """Sums in equal-mass bins of the prediction; nothing is sorted as a whole.

    Args:
        label: float [clicks].
        prediction: float [clicks], without NaN.
        bins: how many.
    """
    count = len(label)
    starts = -(-np.arange(bins + 1) * count // bins)  # Click i of n, by prediction, is in bin ⌊i · bins / n⌋.
    places = np.unique(starts[(starts > 0) & (starts < count)])
    borders = np.unique(np.partition(prediction, places)[places]) if places.size else np.zeros(0)
    part = np.searchsorted(borders, prediction, "left")
    part += np.searchsorted(borders, prediction, "right")
    parts = 2 * borders.size + 1
    size = np.bincount(part, minlength=parts)
    ends = np.cumsum(size)
    overlap = np.minimum(ends[:, None], starts[1:]) - np.maximum((ends - size)[:, None], starts[:-1])
    share = np.maximum(overlap, 0) / np.maximum(size, 1)[:, None]
    predicted, observed = (np.bincount(part, values, parts) @ share for values in (prediction, label))
    return EqualMass(np.diff(starts), predicted, observed, part, share)


def calibration_curve(
    user: np.ndarray, label: np.ndarray, prediction: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """Mean prediction and mean label of equal-mass bins of the prediction, with an interval over users.

    The mean label's variance is that of a ratio of sums over users, linearised, as a user's clicks convert together. It says
    how many independent clicks would be as uncertain, and for so many the interval is Wilson's (1927), which stays within
    0 and 1 where few clicks convert. Where users do not differ, as where all clicks have the same label or there is one user,
    users are counted instead.

    Args:
        user: int64 [clicks], user codes from 0.
        label: float [clicks].
        prediction: float [clicks].
        bins: how many; fewer where there are fewer clicks.

    Returns:
        A bin each, ascending: `clicks`, `predicted`, `observed`, and the 95% interval `low`, `high` of `observed`.
    """
    found, curve = equal_mass(label, prediction, max(min(bins, len(label)), 1)), []
    for number in range(len(label) and found.clicks.size):
        chosen = np.flatnonzero(found.share[found.part, number])
        share = found.share[found.part[chosen], number]
        clicks = int(found.clicks[number])
        observed = min(found.observed[number] / clicks, 1.0)  # Shares may round to more.
        users, of_user = np.unique(user[chosen], return_inverse=True)
        excess = np.bincount(of_user, share * (label[chosen] - observed))
        low, high = _wilson(observed, _independent(observed, excess, clicks, users.size))
        predicted = found.predicted[number] / clicks
        curve.append(
            {"clicks": clicks, "predicted": float(predicted), "observed": float(observed), "low": low, "high": high}
        )
    return curve


def _independent(mean: float, excess: np.ndarray, clicks: int, users: int) -> float:
    """How many independent clicks would leave the mean as uncertain, from each user's Σ (label − mean)."""
    variance = float(excess @ excess) / clicks**2 * users / max(users - 1, 1)
    spread = mean * (1 - mean)
    return users if variance * clicks * _ROUNDING <= spread else spread / variance


def _wilson(mean: float, count: float) -> tuple[float, float]:
    spread = _Z**2 / count
    centre = (mean + spread / 2) / (1 + spread)
    half = np.sqrt(spread * mean * (1 - mean) + spread**2 / 4) / (1 + spread)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
