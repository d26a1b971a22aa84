"""What the model sees of a click: the feature specification."""

import pydantic

from features.feature import ARROW_TYPE, INT64_MISSING, NUMBER_LISTS, Feature, VocabularyConfig
from features.feature_types import AnyFeature, CategoricalFeature, HistoryFeature, NumericFeature, SimilarityFeature
from features.frozen import Frozen

__all__ = [
    "ARROW_TYPE",
    "INT64_MISSING",
    "NUMBER_LISTS",
    "RESERVED",
    "RESERVED_PREFIXES",
    "AnyFeature",
    "CategoricalFeature",
    "Feature",
    "FeatureSpec",
    "HistoryFeature",
    "NumericFeature",
    "SimilarityFeature",
    "VocabularyConfig",
]


class FeatureSpec(Frozen):
    """All features of a click, in order, and how their vocabularies are made."""

    features: tuple[AnyFeature, ...] = pydantic.Field(min_length=1)
    vocabulary: VocabularyConfig = VocabularyConfig()

    @pydantic.model_validator(mode="after")
    def _check_names(self):
        names = [f.name for f in self.features]
        doubled = sorted({n for n in names if names.count(n) > 1})
        if doubled:
            raise ValueError(f"feature names must differ; given twice: {', '.join(doubled)}")
        reserved = sorted(n for n in names if n in RESERVED or n.startswith(RESERVED_PREFIXES))
        if reserved:
            raise ValueError(
                f"reserved feature name: {', '.join(reserved)} ({', '.join(RESERVED)} are ours, and what begins with "
                f"{', '.join(RESERVED_PREFIXES)})"
            )
        for feature in self.features:
            feature.check(self)
        self.columns()
        if self.hash_lookups and not self.vocabulary.hash_buckets:
            raise ValueError(
                f"feature '{next(iter(self.hash_lookups))}' is hashed: vocabulary.hash_buckets, the rows of the table of all "
                "hashed features, is missing"
            )
        if self.vocabulary.hash_buckets and not self.hash_lookups:
            raise ValueError("vocabulary.hash_buckets has no effect: no feature has hash_lookups")
        return self

    def columns(self, events: str = "clicks") -> dict[str, str]:
        """Raw columns that features need of the `clicks` or the `conversions` table, and their dtypes.

        Raises:
            ValueError: two features want one column as different dtypes.
        """
        columns: dict[str, str] = {}
        for feature in sorted(self.features, key=lambda feature: feature.sequence):
            for column, dtype in feature.columns(events, self).items():
                if (other := columns.setdefault(column, dtype)) != dtype:
                    raise ValueError(
                        f"column '{column}' is used as {other} and as {dtype}; give its features one dtype"
                    )
        return columns

    @property
    def categorical(self) -> tuple[CategoricalFeature, ...]:
        """Categorical features in order."""
        return tuple(f for f in self.features if isinstance(f, CategoricalFeature))

    @property
    def numeric(self) -> tuple[NumericFeature, ...]:
        """Numeric features in order."""
        return tuple(f for f in self.features if isinstance(f, NumericFeature))

    @property
    def histories(self) -> tuple[HistoryFeature, ...]:
        """History features in order."""
        return tuple(f for f in self.features if isinstance(f, HistoryFeature))

    @property
    def similarities(self) -> tuple[SimilarityFeature, ...]:
        """Similarity features in order."""
        return tuple(f for f in self.features if isinstance(f, SimilarityFeature))

    @property
    def scalars(self) -> tuple[Feature, ...]:
        """Features with one value per click that are embedded."""
        return tuple(f for f in self.features if f.embedded and not f.sequence)

    @property
    def tables(self) -> tuple[Feature, ...]:
        """Features with an embedding table of their own."""
        shared = self.hash_lookups
        return tuple(f for f in self.features if f.embedded and f.table == f.name and f.name not in shared)

    @property
    def read_directly(self) -> tuple[Feature, ...]:
        """Features whose values the network reads beside their embeddings, or instead of them."""
        return tuple(f for f in self.features if f.sequence or not f.embedded)

    @property
    def hash_lookups(self) -> dict[str, int]:
        """The hashed features' number of lookups, by name."""
        return {f.name: f.hash_lookups for f in self.categorical if f.hash_lookups}

    @property
    def with_vocabulary(self) -> tuple[Feature, ...]:
        """Features whose rows a vocabulary decides."""
        return tuple(f for f in self.features if f.has_vocabulary)

    def feature(self, name: str) -> Feature:
        """The feature called `name`."""
        return next(f for f in self.features if f.name == name)

    def scalar(self, name: str) -> Feature:
        """The scalar feature called `name`."""
        return next(f for f in self.scalars if f.name == name)

    def dtype(self, feature: Feature) -> str:
        """Type of a feature's values in the tf.Example: `string`, `int64` or `float32`."""
        return feature.value_dtype(self)


#: What the columns of each mechanism begin with.
RESERVED_PREFIXES = ("label_", "credit_", "valued_credit_")

#: Columns of a labelled click that are not features; those of each mechanism and `label_cat` come beside them.
RESERVED = ("click_id", "user_id", "timestamp", "path_length", "mature")
