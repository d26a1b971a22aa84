"""Calibration curve: mean prediction against mean label in equal-mass bins of the prediction."""

import dataclasses

import numpy as np

#: 97.5% quantile of the normal distribution.
_Z = 1.959963984540054

#: A variance this many times below that of independent clicks is treated as a rounding error of 0.
_ROUNDING = 1e6


@dataclasses.dataclass(frozen=True)
class EqualMass:
    """Clicks in equal-mass bins of their prediction.

    Clicks with equal predictions are treated alike: at a border between bins, each belongs to both bins by the same shares.

    Attributes:
        clicks: int64 [bins], number of clicks.
        predicted: float64 [bins], Σ prediction.
        observed: float64 [bins], Σ label.
        part: int64 [clicks], part of each click. The clicks with the prediction of a border form a part, and so do those
            between two borders.
        share: float64 [parts, bins], share of each part that is in each bin.
    """

    clicks: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    part: np.ndarray
    share: np.ndarray


def equal_mass(label: np.ndarray, prediction: np.ndarray, bins: int) -> EqualMass:
    """Computes sums in equal-mass bins of the prediction, without a full sort.

    Args:
        label: float [clicks].
        prediction: float [clicks], without NaN.
        bins: number of bins.
    """
    starts = bin_starts(len(label), bins)
    places = np.unique(starts[(starts > 0) & (starts < len(label))])
    borders = np.unique(np.partition(prediction, places)[places]) if places.size else np.zeros(0)
    part, parts = part_of(borders, prediction), 2 * borders.size + 1
    share = shares(np.bincount(part, minlength=parts), starts)
    predicted, observed = (np.bincount(part, values, parts) @ share for values in (prediction, label))
    return EqualMass(np.diff(starts), predicted, observed, part, share)


def bin_starts(count: int, bins: int) -> np.ndarray:
    """Index of the first click of each bin, then `count`: int64 [bins + 1].

    The i-th of n clicks by prediction is in bin ⌊i · bins / n⌋.
    """
    return -(-np.arange(bins + 1) * count // bins)


def part_of(borders: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Part of each click (`EqualMass.part`), given the ascending distinct predictions at borders between bins."""
    return np.searchsorted(borders, prediction, "left") + np.searchsorted(borders, prediction, "right")


def shares(size: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Share of each part in each bin (`EqualMass.share`), given the number of clicks of each part and `bin_starts`."""
    ends = np.cumsum(size)
    overlap = np.minimum(ends[:, None], starts[1:]) - np.maximum((ends - size)[:, None], starts[:-1])
    return np.maximum(overlap, 0) / np.maximum(size, 1)[:, None]


def calibration_curve(
    user: np.ndarray, label: np.ndarray, prediction: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """Mean prediction and mean label of equal-mass bins of the prediction, with intervals that respect users.

    The variance of the mean label is the linearised variance of a ratio of sums over users, because the clicks of a user are
    correlated. It determines an effective number of independent clicks, for which the interval is Wilson's (1927), which stays
    within 0 and 1 where few clicks convert. If users do not differ, because all clicks have the same label or there is one
    user, the number of users is used instead.

    Args:
        user: int64 [clicks], user codes from 0.
        label: float [clicks].
        prediction: float [clicks].
        bins: number of bins; at most one per click.

    Returns:
        A dict per bin, ascending: `clicks`, `predicted`, `observed`, and the 95% interval `low`, `high` of `observed`.
    """
    binned, curve = equal_mass(label, prediction, max(min(bins, len(label)), 1)), []
    for number in range(len(label) and binned.clicks.size):
        clicks = int(binned.clicks[number])
        observed = min(binned.observed[number] / clicks, 1.0)  # Rounded shares may give more.
        excess = user_excess(user, label, binned.share[binned.part, number], observed)
        low, high = interval(observed, float(excess @ excess), clicks, excess.size)
        predicted = binned.predicted[number] / clicks
        curve.append(
            {"clicks": clicks, "predicted": float(predicted), "observed": float(observed), "low": low, "high": high}
        )
    return curve


def user_excess(user: np.ndarray, label: np.ndarray, share: np.ndarray, mean: float) -> np.ndarray:
    """Σ (label − mean) over the clicks in a bin, for each user who has any there: float64 [users of the bin].

    Args:
        user: int64 [clicks].
        label: float [clicks].
        share: float [clicks], share of each click that is in the bin.
        mean: mean label of the bin.
    """
    in_bin = np.flatnonzero(share)
    code = np.unique(user[in_bin], return_inverse=True)[1]
    return np.bincount(code, share[in_bin] * (label[in_bin] - mean))


def interval(mean: float, squares: float, clicks: int, users: float) -> tuple[float, float]:
    """95% interval of the mean label of a bin.

    Args:
        mean: mean label.
        squares: Σ over users of the square of `user_excess`.
        clicks: number of clicks in the bin.
        users: number of users with clicks in the bin.
    """
    variance = squares / clicks**2 * users / max(users - 1, 1)
    spread = mean * (1 - mean)
    return _wilson(mean, users if variance * clicks * _ROUNDING <= spread else spread / variance)


def _wilson(mean: float, count: float) -> tuple[float, float]:
    spread = _Z**2 / count
    centre = (mean + spread / 2) / (1 + spread)
    half = np.sqrt(spread * mean * (1 - mean) + spread**2 / 4) / (1 + spread)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
