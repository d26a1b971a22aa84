"""Feature specification: which features of a click the model reads."""

import difflib
from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
import pydantic

from features import contract
from features.errors import MalTfError
from features.feature import ARROW_TYPE, INT64_MISSING, NUMBER_LISTS, Feature, VocabularyConfig
from features.feature_types import AnyFeature, CategoricalFeature, HistoryFeature, NumericFeature, SimilarityFeature
from features.frozen import NOT_EMPTY, Frozen

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
    """The features that a model reads of a click, in order, and the limits of their vocabularies.

    Attributes:
        features: the features, at least one, with distinct names.
        vocabulary: limits of the vocabularies.

    Raises:
        pydantic.ValidationError: names repeat or are reserved, a history refers to an unknown feature, or two features
            read one column as different dtypes.

    Example:
        >>> import mal_tf
        >>> features = mal_tf.FeatureSpec(
        ...     features=[
        ...         {"type": "categorical", "name": "item", "dtype": "int64"},
        ...         {"type": "numeric", "name": "price"},
        ...         {"type": "history", "name": "clicked_items", "of": "item", "length": 10},
        ...     ]
        ... )
        >>> features.columns()
        {'item': 'int64', 'price': 'float32'}
    """

    features: Annotated[tuple[AnyFeature, ...], NOT_EMPTY]
    vocabulary: VocabularyConfig = VocabularyConfig()

    @pydantic.model_validator(mode="after")
    def _check_names(self):
        names = [f.name for f in self.features]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ValueError(f"feature names must differ; given twice: {', '.join(repeated)}")
        reserved = sorted(n for n in names if n in RESERVED or n.startswith(RESERVED_PREFIXES))
        if reserved:
            raise ValueError(
                f"reserved feature name: {', '.join(reserved)} (reserved are {', '.join(RESERVED)}, and names that begin with "
                f"{', '.join(RESERVED_PREFIXES)}); rename the feature and give its `column`"
            )
        try:
            for feature in self.features:
                contract.check(feature, self)
            for events in ("clicks", "conversions"):
                self.columns(events)
        except MalTfError as error:
            raise ValueError(str(error)) from error
        if self.hash_lookups and not self.vocabulary.hash_buckets:
            raise ValueError(
                f"feature '{next(iter(self.hash_lookups))}' is hashed: vocabulary.hash_buckets, the rows of the table of all "
                "hashed features, is missing"
            )
        if self.vocabulary.hash_buckets and not self.hash_lookups:
            raise ValueError("vocabulary.hash_buckets has no effect: no feature has hash_lookups")
        return self

    def columns(self, events: str = "clicks") -> dict[str, str]:
        """Raw columns that the features need of the `clicks` or the `conversions` table, with their dtypes.

        Raises:
            ValueError: two features read one column as different dtypes.
            MalTfError: a feature type failed.
        """
        columns: dict[str, str] = {}
        for feature in sorted(self.features, key=lambda feature: feature.sequence):
            for column, dtype in contract.columns(feature, events, self).items():
                if (other := columns.setdefault(column, dtype)) != dtype:
                    raise ValueError(
                        f"column '{column}' is used as {other} and as {dtype}; give its features one dtype"
                    )
        return columns

    def scalar_columns(self, names: Sequence[str]) -> dict[str, str]:
        """Raw columns of the `clicks` table that some scalar features need, with their dtypes."""
        return {
            column: dtype
            for name in names
            for column, dtype in contract.columns(self.scalar(name), "clicks", self).items()
        }

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
        """Features whose values the network reads in addition to their embeddings or instead of them."""
        return tuple(f for f in self.features if f.sequence or not f.embedded)

    @property
    def hash_lookups(self) -> dict[str, int]:
        """Number of lookups of each hashed feature, by name."""
        return {f.name: f.hash_lookups for f in self.categorical if f.hash_lookups}

    @property
    def with_vocabulary(self) -> tuple[Feature, ...]:
        """Features with a vocabulary."""
        return tuple(f for f in self.features if f.has_vocabulary)

    def feature(self, name: str) -> Feature:
        """The feature called `name`.

        Raises:
            MalTfError: there is none; the message names the nearest.
        """
        return _named(name, self.features, "feature")

    def scalar(self, name: str) -> Feature:
        """The scalar feature called `name`; raises what `feature` does."""
        return _named(name, self.scalars, "scalar feature")

    def dtype(self, feature: Feature) -> str:
        """Type of a feature's values in the tf.Example: `string`, `int64` or `float32`."""
        return feature.value_dtype(self)

    @property
    def arrow_types(self) -> dict[str, pa.DataType]:
        """Arrow type of each feature's column in a table of labelled clicks, by name."""
        types = {feature.name: ARROW_TYPE[self.dtype(feature)] for feature in self.features}
        return {name: pa.list_(kind) if self.feature(name).sequence else kind for name, kind in types.items()}


def _named(name: str, features: Sequence[Feature], kind: str) -> Feature:
    by_name = {feature.name: feature for feature in features}
    if name not in by_name:
        nearest = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise MalTfError(f"unknown {kind} '{name}'; {hint}Known: {', '.join(by_name)}")
    return by_name[name]


#: Prefixes of the columns of each mechanism.
RESERVED_PREFIXES = ("label_", "credit_", "valued_credit_")

#: Columns of a labelled click that are not features, other than `label_cat` and those of each mechanism.
RESERVED = ("click_id", "user_id", "timestamp", "path_length", "mature")
