"""The `evaluation` block of a run's config."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import pydantic

from features.frozen import NOT_EMPTY, Frozen, Names
from features.spec import FeatureSpec

#: Names of the slices that are not based on a feature.
PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY = "path_length", "information_gain", "click_age", "user_history"

#: Prefix of a categorical feature's name in slices by whether the training vocabulary contains the click's token.
KNOWN_PREFIX = "known_"


class GrowthConfig(Frozen):
    """Groups of users by information gain, the extra positives that `wider` gave the user over `narrower` (MAL, Figure 5).

    Attributes:
        wider: mechanism with more positives.
        narrower: mechanism with fewer positives.
        segments: number of segments at the end of the training split in which positives are counted.
        bounds: ascending lower bounds of all groups but the first, which holds the users below the smallest bound.
    """

    wider: str = "linear"
    narrower: str = "last"
    segments: int = pydantic.Field(7, ge=1)
    bounds: Annotated[tuple[pydantic.PositiveInt, ...], NOT_EMPTY] = (1, 2, 4)

    @pydantic.field_validator("bounds")
    @classmethod
    def _ascending(cls, bounds):
        return _ascending(bounds)


def _ascending(bounds: tuple) -> tuple:
    if any(low >= high for low, high in zip(bounds, bounds[1:], strict=False)):
        raise ValueError(f"expected ascending bounds, found {', '.join(map(str, bounds))}")
    return bounds


class EvaluationConfig(Frozen):
    """Evaluation of the exported models.

    Attributes:
        bootstrap_samples: number of resamples of users for the intervals and p-values of differences; 0 for none. With B
            resamples, the smallest p-value is 2 / (B + 1).
        batch_size: number of clicks scored at a time.
        slices: criteria by which clicks are sliced: `path_length`, `information_gain`, `click_age`, `user_history`, a
            categorical or numeric feature, or `known_<feature>`; see `docs/evaluation.md`. By default those of the first
            four that the labels allow.
        top_values: number of slices by a categorical feature, which are its most frequent values.
        quantiles: number of slices by a numeric feature, of about equal size.
        age_days: ascending bounds, in days, between slices by click age.
        min_positives: slices with fewer positives are left out.
        growth: user groups for slices by `information_gain`, and the mechanisms that a slice's growth in positives compares.
        calibration_bins: number of bins of the calibration curves and of ECE.
    """

    bootstrap_samples: int = pydantic.Field(2000, ge=0)
    batch_size: int = pydantic.Field(4096, ge=1)
    slices: Names | None = None
    top_values: int = pydantic.Field(5, ge=1)
    quantiles: int = pydantic.Field(4, ge=2, le=100)
    age_days: Annotated[tuple[pydantic.PositiveFloat, ...], NOT_EMPTY] = (1, 2, 4, 7)
    min_positives: int = pydantic.Field(20, ge=1)
    growth: GrowthConfig = GrowthConfig()
    calibration_bins: int = pydantic.Field(10, ge=1, le=1000)

    _bounds_ascend = pydantic.field_validator("age_days")(_ascending)

    @pydantic.field_validator("slices")
    @classmethod
    def _no_duplicates(cls, slices):
        if duplicates := sorted({name for name in slices or () if slices.count(name) > 1}):
            raise ValueError(f"given twice: {', '.join(duplicates)}")
        return slices

    def resolve_slices(self, spec: FeatureSpec, mechanisms: Sequence[str], timed: bool) -> tuple[str, ...]:
        """Returns the configured slices, or by default all that are available.

        Args:
            spec: features of the run.
            mechanisms: mechanisms that have labels.
            timed: whether the labels have timestamps and paths.

        Raises:
            ValueError: a configured slice is not available.
        """
        if self.slices is None:
            defaults = (PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY)
            return tuple(by for by in defaults if not self._unavailable(by, spec, mechanisms, timed))
        for by in self.slices:
            if reason := self._unavailable(by, spec, mechanisms, timed):
                raise ValueError(f"evaluation.slices: '{by}' {reason}")
        return self.slices

    def _unavailable(self, by: str, spec: FeatureSpec, mechanisms: Sequence[str], timed: bool) -> str:
        """Returns why a slice is not available; empty if it is."""
        if by == INFORMATION_GAIN:
            absent = [name for name in (self.growth.wider, self.growth.narrower) if name not in mechanisms]
            names = ", ".join(mechanisms)
            return f"needs evaluation.growth's mechanism '{absent[0]}'; available: {names}" if absent else ""
        if by in (PATH_LENGTH, CLICK_AGE):
            return "" if timed else "needs clicks with timestamps and paths, which ready-made labels lack"
        scalars = [feature.name for feature in spec.scalars]
        if by == USER_HISTORY or by in scalars:
            return ""
        tokens = [KNOWN_PREFIX + feature.name for feature in spec.categorical if feature.name not in spec.hash_lookups]
        choices = (PATH_LENGTH, INFORMATION_GAIN, CLICK_AGE, USER_HISTORY, *scalars, *tokens)
        return "" if by in tokens else f"is not a slice; available: {', '.join(choices)}"


def slice_features(slices: Sequence[str], spec: FeatureSpec) -> Iterator[str]:
    """Yields the features that the slices are based on, each once."""
    scalars = {feature.name for feature in spec.scalars}
    names = (by if by in scalars else by.removeprefix(KNOWN_PREFIX) for by in slices)
    return iter(dict.fromkeys(name for name in names if name in scalars))
