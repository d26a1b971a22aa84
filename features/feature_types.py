"""Feature types: categorical, numeric, history and similarity. A config may also name a class by import path."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pydantic

from features import vocabulary as vocabularies
from features.arrays import first_of_each
from features.feature import NUMBER_LISTS, Clicks, ColumnFeature, Feature, VocabularyConfig
from features.registry import block

if TYPE_CHECKING:
    from features.spec import FeatureSpec


class CategoricalFeature(ColumnFeature):
    """One token per click, looked up in a vocabulary, or hashed, and embedded.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default.
        dtype: type of the token in the tf.Example.
        embedding_dim: width of the embedding; the model's default when absent.
        min_count: overrides `vocabulary.min_count` for this feature.
        max_size: overrides `vocabulary.max_size` for this feature.
        hash_lookups: hash the token instead of looking it up in a vocabulary. Its embedding is the concatenation of this
            many rows of the table that all hashed features share.

    Example:
        >>> import mal_tf
        >>> item = mal_tf.CategoricalFeature(type="categorical", name="item", dtype="int64", embedding_dim=16)
        >>> mal_tf.FeatureSpec(features=[item]).columns()
        {'item': 'int64'}
    """

    vocabulary_grows: ClassVar[bool] = True

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
                f"feature '{self.name}' is hashed and has no vocabulary: remove min_count and max_size, or hash_lookups"
            )
        return self

    @property
    def has_vocabulary(self) -> bool:
        """See base class; False for a hashed feature."""
        return not self.hash_lookups

    def cut(self, counts: pa.Table, config: VocabularyConfig, previous: Sequence[str] | None) -> list[str]:
        """See base class."""
        limits = self.min_count or config.min_count, self.max_size or config.max_size
        return vocabularies.cut_tokens(counts, *limits, previous or ())

    def rows(self, vocabulary: Sequence[str], config: VocabularyConfig) -> int:
        """See base class: one row for the missing value, `oov_buckets` for unknown tokens, one per token."""
        return 1 + config.oov_buckets + len(vocabulary)

    def lookup(self, vocabulary: Sequence[str], config: VocabularyConfig) -> Callable:
        """See base class."""
        from features import lookup_layers

        if self.hash_lookups:
            assert config.hash_buckets is not None  # checked by `FeatureSpec`
            salt = zlib.crc32(self.name.encode())
            return lookup_layers.hashing(self.name, self.dtype, config.hash_buckets, salt, self.hash_lookups)
        return lookup_layers.TokenLookup(vocabulary, self.dtype, config.oov_buckets, name=f"lookup_{self.name}")


class NumericFeature(ColumnFeature):
    """One number per click, cut into buckets of about equal mass and embedded.

    Bucket boundaries are quantiles of the training clicks, found from exact integer counts over fixed log-spaced bins
    (`features.vocabulary.bin_numbers`), so that they depend neither on order nor on sharding.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default.
        buckets: number of buckets, at most; values that fill several share one.
        embedding_dim: width of the embedding; the model's default when absent.

    Example:
        >>> import mal_tf
        >>> price = mal_tf.NumericFeature(type="numeric", name="price", column="price_usd", buckets=50)
        >>> mal_tf.FeatureSpec(features=[price]).columns()
        {'price_usd': 'float32'}
    """

    type: Literal["numeric"]
    buckets: int = pydantic.Field(20, ge=2, le=1000)
    embedding_dim: int | None = pydantic.Field(None, gt=0)

    @property
    def dtype(self) -> str:
        """Type of the value in the tf.Example."""
        return "float32"

    @property
    def has_vocabulary(self) -> bool:
        """See base class."""
        return True

    def tokens(self, values: pa.Array) -> pa.Array:
        """See base class: the bins of the finite numbers."""
        numbers = values.to_numpy(zero_copy_only=False)
        return pa.array(vocabularies.bin_numbers(numbers[np.isfinite(numbers)]))

    def discrete(self, values: pa.Array) -> pa.Array:
        """See base class: the bin of each number; missing and infinite values count as 0."""
        numbers = np.nan_to_num(values.to_numpy(zero_copy_only=False), nan=0.0, posinf=0.0, neginf=0.0)
        return pa.array(vocabularies.bin_numbers(numbers))

    def cut(self, counts: pa.Table, config: VocabularyConfig, previous: Sequence[str] | None) -> list[str]:
        """See base class."""
        return list(previous) if previous else vocabularies.cut_boundaries(counts, self.buckets)

    def rows(self, vocabulary: Sequence[str], config: VocabularyConfig) -> int:
        """See base class: one row for the missing value and one per bucket."""
        return 2 + len(vocabulary)

    def lookup(self, vocabulary: Sequence[str], config: VocabularyConfig) -> Callable:
        """See base class."""
        from features import lookup_layers

        return lookup_layers.BucketLookup([float(line) for line in vocabulary], name=f"lookup_{self.name}")


class HistoryFeature(Feature):
    """Tokens of the user's last `length` events strictly before the click, most recent first.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        of: the categorical feature whose values the history lists. The history shares its vocabulary and embedding
            table, and the click's own value of it is the query of the attention over the history.
        events: table whose events are listed. For `conversions`, the conversion table needs the column of `of`.
        length: how many events at most.

    Example:
        >>> import mal_tf
        >>> clicked = mal_tf.HistoryFeature(type="history", name="clicked_items", of="item", length=10)
        >>> spec = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "item"}, clicked])
        >>> spec.dtype(clicked), clicked.table
        ('string', 'item')
    """

    sequence: ClassVar[bool] = True
    serves_once: ClassVar[bool] = True

    type: Literal["history"]
    of: str
    events: Literal["clicks", "conversions"] = "clicks"
    length: int = pydantic.Field(20, ge=1, le=10_000)

    def value_dtype(self, spec: "FeatureSpec") -> str:
        """See base class."""
        return spec.scalar(self.of).dtype

    @property
    def table(self) -> str:
        """See base class."""
        return self.of

    @property
    def meaning(self) -> dict[str, Any]:
        """See base class."""
        return {"type": self.type, "of": self.of, "events": self.events}

    def check(self, spec: "FeatureSpec") -> None:
        """See base class."""
        categorical = [f.name for f in spec.categorical if not f.sequence]
        if self.of not in categorical:
            raise ValueError(
                f"history '{self.name}' is of unknown feature '{self.of}'; "
                f"categorical features: {', '.join(categorical) or 'none'}"
            )

    def columns(self, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
        """See base class."""
        listed = spec.scalar(self.of)
        return {listed.source_column: listed.dtype} if events == self.events else {}

    def select(self, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
        """See base class."""
        return clicks.history(self)


class SimilarityFeature(ColumnFeature):
    """Cosine similarities between the clicked item and the user's last events, most recent first, from a list column.

    The model reads them as a histogram (`mal_tf.layers.simtier`), without vocabulary or embedding table.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default. Lists of numbers or, as text, numbers joined by `|`. A
            missing list is an empty one, a missing number is in no tier.
        length: how many at most; the rest of a list is cut off.

    Example:
        >>> import mal_tf
        >>> similar = mal_tf.SimilarityFeature(type="similarity", name="similar", length=50)
        >>> mal_tf.FeatureSpec(features=[similar]).columns()
        {'similar': 'list of float32'}
    """

    sequence: ClassVar[bool] = True
    embedded: ClassVar[bool] = False

    type: Literal["similarity"]
    length: int = pydantic.Field(20, ge=1, le=10_000)

    @property
    def dtype(self) -> str:
        """Type of the values in the tf.Example."""
        return "float32"

    def columns(self, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
        """See base class."""
        return {self.source_column: NUMBER_LISTS} if events == "clicks" else {}

    def select(self, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
        """See base class."""
        return first_of_each(clicks.column(self.source_column), self.length)


#: Built-in feature types by their name in a config. To add one, write a class and list it here.
TYPES: dict[str, type[Feature]] = {
    "categorical": CategoricalFeature,
    "numeric": NumericFeature,
    "history": HistoryFeature,
    "similarity": SimilarityFeature,
}

#: A feature in a config, of any type.
if TYPE_CHECKING:
    AnyFeature: TypeAlias = Feature
else:
    AnyFeature = block(TYPES, Feature, "type", "feature type")
