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
    starts = bin_starts(len(label), bins)
    places = np.unique(starts[(starts > 0) & (starts < len(label))])
    borders = np.unique(np.partition(prediction, places)[places]) if places.size else np.zeros(0)
    part, parts = part_of(borders, prediction), 2 * borders.size + 1
    share = shares(np.bincount(part, minlength=parts), starts)
    predicted, observed = (np.bincount(part, values, parts) @ share for values in (prediction, label))
    return EqualMass(np.diff(starts), predicted, observed, part, share)


def bin_starts(count: int, bins: int) -> np.ndarray:
    """int64 [bins + 1]: click i of n, by prediction, is in bin ⌊i · bins / n⌋, so these are the bins' first and the end."""
    return -(-np.arange(bins + 1) * count // bins)


def part_of(borders: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """See `EqualMass.part`, of the distinct predictions at borders, ascending."""
    return np.searchsorted(borders, prediction, "left") + np.searchsorted(borders, prediction, "right")


def shares(size: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """See `EqualMass.share`, of how many clicks each part has, and `bin_starts`."""
    ends = np.cumsum(size)
    overlap = np.minimum(ends[:, None], starts[1:]) - np.maximum((ends - size)[:, None], starts[:-1])
    return np.maximum(overlap, 0) / np.maximum(size, 1)[:, None]


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
        clicks = int(found.clicks[number])
        observed = min(found.observed[number] / clicks, 1.0)  # Shares may round to more.
        excess = user_excess(user, label, found.share[found.part, number], observed)
        low, high = interval(observed, float(excess @ excess), clicks, excess.size)
        predicted = found.predicted[number] / clicks
        curve.append(
            {"clicks": clicks, "predicted": float(predicted), "observed": float(observed), "low": low, "high": high}
        )
    return curve


def user_excess(user: np.ndarray, label: np.ndarray, share: np.ndarray, mean: float) -> np.ndarray:
    """Σ (label − mean) over the clicks in a bin of each user who has any, float64 [users of the bin].

    Args:
        user: int64 [clicks].
        label: float [clicks].
        share: float [clicks], of each click that is in the bin.
        mean: label of the bin.
    """
    chosen = np.flatnonzero(share)
    of_user = np.unique(user[chosen], return_inverse=True)[1]
    return np.bincount(of_user, share[chosen] * (label[chosen] - mean))


def interval(mean: float, squares: float, clicks: int, users: float) -> tuple[float, float]:
    """95% interval of a bin's mean label.

    Args:
        mean: the mean label.
        squares: Σ over users of the square of `user_excess`.
        clicks: of the bin.
        users: with clicks in it.
    """
    variance = squares / clicks**2 * users / max(users - 1, 1)
    spread = mean * (1 - mean)
    return _wilson(mean, users if variance * clicks * _ROUNDING <= spread else spread / variance)


def _wilson(mean: float, count: float) -> tuple[float, float]:
    spread = _Z**2 / count
    centre = (mean + spread / 2) / (1 + spread)
    half = np.sqrt(spread * mean * (1 - mean) + spread**2 / 4) / (1 + spread)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
