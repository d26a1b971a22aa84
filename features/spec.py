"""What the model sees of a click: the feature specification."""

from typing import Annotated, Literal

import pyarrow as pa
import pydantic

from features.frozen import Frozen

#: Stands for a missing value of an int64 feature; string features use the empty string, float32 features NaN.
INT64_MISSING = -(2**63)

_NAME = r"^[a-z][a-z0-9_]*$"


class _OfColumn(Frozen):
    """A feature whose values stand in a column of the click table.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default.
    """

    name: str = pydantic.Field(pattern=_NAME)
    column: str | None = None

    @property
    def source_column(self) -> str:
        """Column of the click table that holds the values."""
        return self.column or self.name


class CategoricalFeature(_OfColumn):
    """One token per click, looked up in a vocabulary, or hashed, and embedded.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default.
        dtype: type of the token in the tf.Example.
        embedding_dim: width of the embedding; the model's default when absent.
        min_count: overrides `vocabulary.min_count` for this feature.
        max_size: overrides `vocabulary.max_size` for this feature.
        hash_lookups: hashed instead of looked up in a vocabulary: how many rows of the table that all hashed features
            share make its embedding, side by side.
    """

    type: Literal["categorical"]
    dtype: Literal["string", "int64"] = "string"
    embedding_dim: int | None = pydantic.Field(None, gt=0)
    min_count: int | None = pydantic.Field(None, ge=1)
    max_size: int | None = pydantic.Field(None, ge=1)
    hash_lookups: int | None = pydantic.Field(None, ge=1)

    @pydantic.model_validator(mode="after")
    def _counted_or_hashed(self):
        if self.hash_lookups and (self.min_count or self.max_size):
            raise ValueError(
                f"feature '{self.name}' is hashed and has no vocabulary: take min_count and max_size out, or hash_lookups"
            )
        return self


class NumericFeature(_OfColumn):
    """One number per click, cut into buckets of about equal mass and embedded.

    Bucket boundaries are quantiles of the training clicks, found from exact integer counts over fixed log-spaced bins
    (`features.vocabulary.bin_numbers`), so that they depend neither on order nor on sharding.

    Attributes:
        buckets: how many.
        embedding_dim: width of its table; `model.embedding_dim` if not given.
    """

    type: Literal["numeric"]
    buckets: int = pydantic.Field(20, ge=2, le=1000)
    embedding_dim: int | None = pydantic.Field(None, gt=0)

    @property
    def dtype(self) -> str:
        """Type of the value in the tf.Example."""
        return "float32"


class HistoryFeature(Frozen):
    """Tokens of the user's last `length` events strictly before the click, most recent first.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        of: the categorical feature whose values are remembered; shares its vocabulary and embedding table, and is the
            query that attends over the history.
        events: which events are remembered. For `conversions`, the conversion table needs the column of `of`.
        length: how many events at most.
    """

    type: Literal["history"]
    name: str = pydantic.Field(pattern=_NAME)
    of: str
    events: Literal["clicks", "conversions"] = "clicks"
    length: int = pydantic.Field(20, ge=1, le=10_000)


class SimilarityFeature(_OfColumn):
    """Cosine similarities of what was clicked and the user's last events, most recent first, as a list column holds them.

    The model sees them as a histogram (`mal_tf.layers.simtier`): no vocabulary, no embedding table.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default. Lists of numbers or, as text, numbers joined by `|`. A
            missing list is an empty one, a missing number is in no tier.
        length: how many at most; the rest of a list is cut off.
    """

    type: Literal["similarity"]
    length: int = pydantic.Field(20, ge=1, le=10_000)

    @property
    def dtype(self) -> str:
        """Type of the values in the tf.Example."""
        return "float32"


Feature = Annotated[
    CategoricalFeature | NumericFeature | HistoryFeature | SimilarityFeature, pydantic.Field(discriminator="type")
]

#: Features with several values per click.
SEQUENCES = (HistoryFeature, SimilarityFeature)

#: Dtype of a column that holds a list of numbers per row.
NUMBER_LISTS = "list of float32"


class VocabularyConfig(Frozen):
    """How vocabularies are cut, and the table of the features that have none.

    Attributes:
        min_count: tokens seen in fewer training clicks are out of vocabulary.
        max_size: keep the most frequent tokens only; no limit when absent.
        oov_buckets: how many rows out-of-vocabulary tokens are hashed into.
        hash_buckets: rows of the table that all hashed features share (`hash_lookups` of a feature).
    """

    min_count: int = pydantic.Field(1, ge=1)
    max_size: int | None = pydantic.Field(None, ge=1)
    oov_buckets: int = pydantic.Field(1, ge=1)
    hash_buckets: int | None = pydantic.Field(None, ge=2, lt=2**31)


class FeatureSpec(Frozen):
    """All features of a click, in order, and how their vocabularies are made."""

    features: tuple[Feature, ...] = pydantic.Field(min_length=1)
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
        categorical = [f.name for f in self.categorical]
        for feature in self.histories:
            if feature.of not in categorical:
                raise ValueError(
                    f"history '{feature.name}' is of unknown feature '{feature.of}'; "
                    f"categorical features: {', '.join(categorical) or 'none'}"
                )
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
        remembered = {f.of for f in self.histories if f.events == "conversions"}
        columns: dict[str, str] = {}
        for feature in self.scalars:
            needed = events == "clicks" or feature.name in remembered
            if needed and columns.setdefault(feature.source_column, feature.dtype) != feature.dtype:
                raise ValueError(f"column '{feature.source_column}' is used as two dtypes; give its features one")
        for feature in self.similarities if events == "clicks" else ():
            if columns.setdefault(feature.source_column, NUMBER_LISTS) != NUMBER_LISTS:
                raise ValueError(f"column '{feature.source_column}' is used as similarities and as a single value")
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
    def scalars(self) -> tuple[CategoricalFeature | NumericFeature, ...]:
        """Features with one value per click: the ones that are embedded."""
        return tuple(f for f in self.features if not isinstance(f, SEQUENCES))

    @property
    def hash_lookups(self) -> dict[str, int]:
        """The hashed features' number of lookups, by name."""
        return {f.name: f.hash_lookups for f in self.categorical if f.hash_lookups}

    @property
    def with_vocabulary(self) -> tuple[CategoricalFeature | NumericFeature, ...]:
        """Scalars that are not hashed: the ones that have a vocabulary and an embedding table of their own."""
        return tuple(f for f in self.scalars if f.name not in self.hash_lookups)

    def scalar(self, name: str) -> CategoricalFeature | NumericFeature:
        """The scalar feature called `name`."""
        return next(f for f in self.scalars if f.name == name)

    def dtype(self, feature: Feature) -> str:
        """Type of a feature's values in the tf.Example: `string`, `int64` or `float32`."""
        return self.scalar(feature.of).dtype if isinstance(feature, HistoryFeature) else feature.dtype


#: What the columns of each mechanism begin with.
RESERVED_PREFIXES = ("label_", "credit_", "valued_credit_")

#: Columns of a labelled click that are not features; those of each mechanism and `label_cat` come beside them.
RESERVED = ("click_id", "user_id", "timestamp", "path_length", "mature")

#: Arrow type of each feature dtype in click and conversion tables.
ARROW_TYPE = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    NUMBER_LISTS: pa.list_(pa.float32()),
}

#: Between the values of a list that is held as text.
VALUE_SEPARATOR = "|"
