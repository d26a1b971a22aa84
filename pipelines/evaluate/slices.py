"""Slices of evaluated clicks: by path length, by a count, by the age of the click, or by a feature's value."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features.feature import MISSING
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, PATH_LENGTH, EvaluationConfig, GrowthConfig

#: Paths of at least so many clicks are one slice.
_LONG = 4

#: Name of the slice of missing tokens or numbers.
MISSING_TOKEN = "(missing)"

#: Name of the slice of all numbers, if they are too alike to be cut into quantiles.
ALL_VALUES = "all values"


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice: a named part of the clicks.

    Attributes:
        name: the value, or range of values, of its clicks.
        chosen: bool [clicks], the clicks that metrics are over.
        own: bool [clicks], the clicks that have the value, if `chosen` contains others, such as all negatives.
    """

    name: str
    chosen: np.ndarray
    own: np.ndarray | None = None

    def growth(self, labels: Mapping[str, np.ndarray], growth: GrowthConfig) -> float | None:
        """Return the positives of the wider mechanism over those of the narrower one.

        None if a mechanism has no labels, or the narrower one has no positives.

        Args:
            labels: float [clicks] by mechanism.
            growth: the two mechanisms.
        """
        if not {growth.wider, growth.narrower} <= labels.keys():
            return None
        own = self.chosen if self.own is None else self.own
        wider, narrower = (int((labels[name][own] > 0).sum()) for name in (growth.wider, growth.narrower))
        return wider / narrower if narrower else None


def slice_by(values: pd.Series, label: np.ndarray, min_positives: int = 0) -> list[Slice]:
    """Slice clicks by path length or by the values of a categorical feature.

    Args:
        values: [clicks], named `path_length` or by the feature. A slice by path length has the positives of that length and
            all negatives.
        label: float [clicks], positive above 0.
        min_positives: slices with fewer positives are left out.

    Returns:
        The slices, in the order of path length, or the most frequent value first and equally frequent ones by name.
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
    """Convert values of a categorical feature to the names of their slices, string [clicks]."""
    missing = values.isin([MISSING["string"], MISSING["int64"]])
    return values.astype(str).where(~missing, MISSING_TOKEN)


def by_count(values: np.ndarray, bounds: Sequence[int]) -> list[Slice]:
    """Slice clicks by a count, int [clicks]: below the first of the ascending bounds, from each to the next, from the last on."""
    names = ["none" if bounds[0] == 1 else f"under {bounds[0]}"]
    for low, high in zip(bounds, [*bounds[1:], None], strict=True):
        names.append(f"{low} or more" if high is None else f"{low}" if high == low + 1 else f"{low} to {high - 1}")
    return _between(values, bounds, names)


def by_bounds(values: np.ndarray, bounds: Sequence[float], unit: str = "") -> list[Slice]:
    """Slice clicks by a number, float [clicks], at ascending bounds. NaN is in no slice."""
    printed = _distinct(bounds)
    between = [f"{low} to {high}{unit}" for low, high in zip(printed, printed[1:], strict=False)]
    names = [f"under {printed[0]}{unit}", *between, f"{printed[-1]}{unit} or more"]
    return _between(values, bounds, names)


def _distinct(bounds: Sequence[float]) -> list[str]:
    """Format distinct numbers with four significant digits, or with as many more as it takes to tell them apart."""
    printed = ([f"{bound:.{digits}g}" for bound in bounds] for digits in range(4, 18))
    return next(texts for texts in printed if len(set(texts)) == len(texts))


def by_quantiles(values: np.ndarray, quantiles: int) -> list[Slice]:
    """Slice clicks by the quantiles of a number, float [clicks]; NaN is a slice of its own. Equal values make fewer slices."""
    present = values[~np.isnan(values)]
    places = quantile_places(present.size, quantiles)
    ordered = np.partition(present, places) if present.size else present
    return by_quantile_bounds(values, quantile_bounds(ordered[places], present.min(initial=np.inf)))


def quantile_places(count: int, quantiles: int) -> np.ndarray:
    """Return the indices at which `count` sorted values are cut into quantiles: int64 [quantiles − 1]."""
    if not count:
        return np.zeros(0, np.int64)
    return np.maximum(np.ceil(np.arange(1, quantiles) / quantiles * count - 1), 0).astype(np.int64)


def quantile_bounds(cuts: np.ndarray, least: float) -> np.ndarray:
    """Return the ascending bounds between slices, from the values at `quantile_places` and the smallest value of all.

    A bound at the smallest value is left out, as the slice below it would be empty.
    """
    return np.unique(cuts[cuts > least])


def by_quantile_bounds(values: np.ndarray, bounds: np.ndarray) -> list[Slice]:
    """Slice clicks by a number, float [clicks], at `quantile_bounds`; NaN is a slice of its own."""
    missing = np.isnan(values)
    between = by_bounds(values, bounds.tolist()) if bounds.size else [Slice(ALL_VALUES, ~missing)]
    return [*between, *([Slice(MISSING_TOKEN, missing)] if missing.any() else [])]


def _between(values: np.ndarray, bounds: Sequence[float], names: Sequence[str]) -> list[Slice]:
    place = np.where(np.isnan(values), -1, np.searchsorted(bounds, values, "right"))
    return [Slice(name, place == n) for n, name in enumerate(names)]


def make_slices(values: pd.Series, label: np.ndarray, config: EvaluationConfig) -> list[Slice]:
    """Slice clicks as an evaluation is configured.

    Args:
        values: [clicks], named as in `EvaluationConfig.slices`.
        label: float [clicks], the primary target's label.
        config: bounds and limits of slices.
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
