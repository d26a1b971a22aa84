"""The configuration of an evaluation."""

from collections.abc import Iterator, Sequence

import pydantic

from features.frozen import Frozen, as_tuple
from features.spec import FeatureSpec

#: Slices that are by no feature.
PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY = "path_length", "information_gain", "click_age", "user_history"

#: Before a categorical feature's name: a slice by whether the training vocabulary has its token.
KNOWN = "known_"


class GrowthConfig(Frozen):
    """User groups by information gain: how many more positives `wider` gave the user than `narrower` (MAL, Figure 5).

    Attributes:
        wider: mechanism with more positives.
        narrower: mechanism with fewer.
        segments: how many last segments of the training split are counted, the trailing window.
        bounds: lower bounds of the groups above the first, ascending; the first holds the users below them all.
    """

    wider: str = "linear"
    narrower: str = "last"
    segments: int = pydantic.Field(7, ge=1)
    bounds: tuple[pydantic.PositiveInt, ...] = pydantic.Field((1, 2, 4), min_length=1)

    @pydantic.field_validator("bounds")
    @classmethod
    def _ascending(cls, bounds):
        return _ascending(bounds)


def _ascending(bounds: tuple) -> tuple:
    if any(low >= high for low, high in zip(bounds, bounds[1:], strict=False)):
        raise ValueError(f"expected ascending bounds, found {', '.join(map(str, bounds))}")
    return bounds


class EvaluationConfig(Frozen):
    """Evaluation.

    Attributes:
        bootstrap_samples: resamplings of users for the intervals and p-values of differences; 0 for none. B of them give no
            p-value below 2 / (B + 1).
        batch_size: clicks scored at a time.
        slices: what parts of the clicks are by: `path_length`, `information_gain`, `click_age`, `user_history`, a
            categorical or numeric feature, or `known_<feature>`; see `docs/evaluation.md`. By default those of the first
            four that the labels allow.
        top_values: a categorical feature's slices are its most frequent values, this many.
        quantiles: a numeric feature's slices are so many of about equal mass.
        age_days: bounds between slices by click age, ascending.
        min_positives: slices of fewer positives are left out.
        growth: user groups for slices of `information_gain`, and the mechanisms of a slice's growth in positives.
        calibration_bins: of the calibration curves and of ECE.
    """

    bootstrap_samples: int = pydantic.Field(2000, ge=0)
    batch_size: int = pydantic.Field(4096, ge=1)
    slices: tuple[str, ...] | None = None
    top_values: int = pydantic.Field(5, ge=1)
    quantiles: int = pydantic.Field(4, ge=2, le=100)
    age_days: tuple[pydantic.PositiveFloat, ...] = pydantic.Field((1, 2, 4, 7), min_length=1)
    min_positives: int = pydantic.Field(20, ge=1)
    growth: GrowthConfig = GrowthConfig()
    calibration_bins: int = pydantic.Field(10, ge=1, le=1000)

    _as_tuple = pydantic.field_validator("slices", mode="before")(as_tuple)
    _bounds_ascend = pydantic.field_validator("age_days")(_ascending)

    @pydantic.field_validator("slices")
    @classmethod
    def _differ(cls, slices):
        if doubled := sorted({name for name in slices or () if slices.count(name) > 1}):
            raise ValueError(f"given twice: {', '.join(doubled)}")
        return slices

    def chosen(self, spec: FeatureSpec, mechanisms: Sequence[str], timed: bool) -> tuple[str, ...]:
        """The slices, where nothing is said those that can be had.

        Args:
            spec: features.
            mechanisms: whose labels there are.
            timed: whether the labels know times and paths.

        Raises:
            ValueError: one can't be had.
        """
        if self.slices is None:
            wanted = (PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY)
            return tuple(by for by in wanted if not self._lacking(by, spec, mechanisms, timed))
        for by in self.slices:
            if lacking := self._lacking(by, spec, mechanisms, timed):
                raise ValueError(f"evaluation.slices: '{by}' {lacking}")
        return self.slices

    def _lacking(self, by: str, spec: FeatureSpec, mechanisms: Sequence[str], timed: bool) -> str:
        """What is in the way of a slice; nothing if it can be had."""
        if by == INFORMATION_GAIN:
            absent = [name for name in (self.growth.wider, self.growth.narrower) if name not in mechanisms]
            there = ", ".join(mechanisms)
            return f"needs evaluation.growth's mechanism '{absent[0]}'; there are: {there}" if absent else ""
        if by in (PATH_LENGTH, CLICK_AGE):
            return "" if timed else "needs clicks with times and paths, which ready-made labels lack"
        scalars = [feature.name for feature in spec.scalars]
        if by == USER_HISTORY or by in scalars:
            return ""
        tokens = [KNOWN + feature.name for feature in spec.categorical if feature.name not in spec.hash_lookups]
        choices = (PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY, *scalars, *tokens)
        return "" if by in tokens else f"is not known; there are: {', '.join(choices)}"


def features_of(slices: Sequence[str], spec: FeatureSpec) -> Iterator[str]:
    """The features that slices are by, each once."""
    scalars = {feature.name for feature in spec.scalars}
    wanted = (by if by in scalars else by.removeprefix(KNOWN) for by in slices)
    return iter(dict.fromkeys(name for name in wanted if name in scalars))
