"""Slices: parts of evaluated clicks, by the length of the path, by a count, an age or a feature's value."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features.feature import MISSING
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, PATH_LENGTH, EvaluationConfig, GrowthConfig

#: Path lengths from here on are one slice.
_LONG = 4

#: What the slice of missing tokens or numbers is called.
MISSING_TOKEN = "(missing)"

#: What the slice of numbers is called that are too much alike to be cut.
ALL_VALUES = "all values"


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the clicks.

    Attributes:
        name: what it is a slice by, and which.
        chosen: bool [clicks].
        own: bool [clicks], those whose value it is, where `chosen` has others beside them to tell them from.
    """

    name: str
    chosen: np.ndarray
    own: np.ndarray | None = None

    def growth(self, labels: Mapping[str, np.ndarray], growth: GrowthConfig) -> float | None:
        """Positives of the wider mechanism over those of the narrower one; None if a label or such positives are lacking.

        Args:
            labels: float [clicks] by mechanism.
            growth: which mechanisms.
        """
        if not {growth.wider, growth.narrower} <= labels.keys():
            return None
        own = self.chosen if self.own is None else self.own
        wider, narrower = (int((labels[name][own] > 0).sum()) for name in (growth.wider, growth.narrower))
        return wider / narrower if narrower else None


def slice_by(values: pd.Series, label: np.ndarray, min_positives: int = 0) -> list[Slice]:
    """Slices of the clicks.

    Args:
        values: [clicks], `path_length` or a categorical feature, by its name.
        label: float [clicks]: path lengths are of its positives, with all negatives.
        min_positives: slices of fewer are left out.

    Returns:
        By path length, or the most frequent value first, equally frequent ones by name.
    """
    positive = label > 0
    if values.name == PATH_LENGTH:
        length = np.minimum(values.to_numpy(), _LONG)
        names = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, _LONG)] + [f"{_LONG} or more"]
        by_length = [Slice(name, ~positive | (length == n), length == n) for n, name in enumerate(names, 1)]
        return _large_enough(by_length, positive, min_positives)
    code, names = pd.factorize(tokens(values), sort=True)
    enough = np.bincount(code, positive, len(names)) >= min_positives
    by_clicks = np.argsort(-np.bincount(code, minlength=len(names)), kind="stable")
    return [Slice(str(names[n]), code == n) for n in by_clicks[enough[by_clicks]]]


def tokens(values: pd.Series) -> pd.Series:
    """Values of a categorical feature as their slices are called, string [clicks]."""
    missing = values.isin([MISSING["string"], MISSING["int64"]])
    return values.astype(str).where(~missing, MISSING_TOKEN)


def by_count(values: np.ndarray, bounds: Sequence[int]) -> list[Slice]:
    """Slices by a count, int [clicks]: below all ascending bounds, from each to the next, from the last on."""
    names = ["none" if bounds[0] == 1 else f"under {bounds[0]}"]
    for low, high in zip(bounds, [*bounds[1:], None], strict=True):
        names.append(f"{low} or more" if high is None else f"{low}" if high == low + 1 else f"{low} to {high - 1}")
    return _between(values, bounds, names)


def by_bounds(values: np.ndarray, bounds: Sequence[float], unit: str = "") -> list[Slice]:
    """Slices by a number, float [clicks]: as `by_count`, but bounds divide; NaN is in none."""
    said = _distinct(bounds)
    inner = [f"{low} to {high}{unit}" for low, high in zip(said, said[1:], strict=False)]
    names = [f"under {said[0]}{unit}", *inner, f"{said[-1]}{unit} or more"]
    return _between(values, bounds, names)


def _distinct(bounds: Sequence[float]) -> list[str]:
    """Distinct numbers, printed with four digits, or as many more as it takes to tell them apart."""
    printed = ([f"{bound:.{digits}g}" for bound in bounds] for digits in range(4, 18))
    return next(said for said in printed if len(set(said)) == len(said))


def by_quantiles(values: np.ndarray, quantiles: int) -> list[Slice]:
    """Slices of about equal mass by a number, float [clicks], and those where it is missing; fewer where values are equal."""
    present = values[~np.isnan(values)]
    places = quantile_places(present.size, quantiles)
    ordered = np.partition(present, places) if present.size else present
    return by_quantile_bounds(values, quantile_bounds(ordered[places], present.min(initial=np.inf)))


def quantile_places(count: int, quantiles: int) -> np.ndarray:
    """Where so many values in their order are cut into quantiles of about equal mass: int64 [quantiles − 1]."""
    if not count:
        return np.zeros(0, np.int64)
    return np.maximum(np.ceil(np.arange(1, quantiles) / quantiles * count - 1), 0).astype(np.int64)


def quantile_bounds(cuts: np.ndarray, least: float) -> np.ndarray:
    """Bounds between slices, ascending, of the values at `quantile_places` and the least of all; nothing is below that."""
    return np.unique(cuts[cuts > least])


def by_quantile_bounds(values: np.ndarray, bounds: np.ndarray) -> list[Slice]:
    """Slices by a number, float [clicks], between `quantile_bounds`, and those where it is missing."""
    missing = np.isnan(values)
    between = by_bounds(values, bounds.tolist()) if bounds.size else [Slice(ALL_VALUES, ~missing)]
    return [*between, *([Slice(MISSING_TOKEN, missing)] if missing.any() else [])]


def _between(values: np.ndarray, bounds: Sequence[float], names: Sequence[str]) -> list[Slice]:
    place = np.where(np.isnan(values), -1, np.searchsorted(bounds, values, "right"))
    return [Slice(name, place == n) for n, name in enumerate(names)]


def slices_of(values: pd.Series, label: np.ndarray, config: EvaluationConfig) -> list[Slice]:
    """Slices of the clicks as an evaluation is configured.

    Args:
        values: [clicks], a name of `EvaluationConfig.slices`, by that name.
        label: float [clicks], of the primary target.
        config: bounds and limits.
    """
    number = values.to_numpy()
    if values.name == INFORMATION_GAIN:
        parts = by_count(number, config.growth.bounds)
    elif values.name == CLICK_AGE:
        parts = by_bounds(number, config.age_days, " d")
    elif values.dtype.kind == "f":
        parts = by_quantiles(number, config.quantiles)
    else:
        parts = slice_by(values, label, config.min_positives)
        return parts if values.name == PATH_LENGTH else parts[: config.top_values]
    return _large_enough(parts, label > 0, config.min_positives)


def _large_enough(parts: Sequence[Slice], positive: np.ndarray, min_positives: int) -> list[Slice]:
    return [part for part in parts if positive[part.chosen].sum() >= min_positives]
