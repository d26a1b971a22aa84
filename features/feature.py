"""Base class of all feature types: how a feature gets from the raw log to the input of the network.

A new type is a subclass. Those that come with mal-tf are listed in `features.feature_types.TYPES`; a config names one of your
own as `type: package.module:Class`.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa
import pydantic

from features.frozen import Frozen

if TYPE_CHECKING:
    from features.feature_types import HistoryFeature
    from features.spec import FeatureSpec

#: Missing value of int64 features. String features use the empty string, float32 features NaN.
INT64_MISSING = -(2**63)

#: Replacement for missing values, by dtype.
MISSING: dict[str, str | int | float] = {"string": "", "int64": INT64_MISSING, "float32": float("nan")}

#: Dtype of a column that holds a list of numbers per row.
NUMBER_LISTS = "list of float32"

#: Arrow type of each dtype in click and conversion tables.
ARROW_TYPE = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    NUMBER_LISTS: pa.list_(pa.float32()),
}


class VocabularyConfig(Frozen):
    """Size limits of vocabularies, and of the embedding table that hashed features share.

    Attributes:
        min_count: tokens seen in fewer training clicks are out of vocabulary.
        max_size: keep the most frequent tokens only; no limit when absent.
        oov_buckets: how many rows out-of-vocabulary tokens are hashed into.
        hash_buckets: rows of the table that all hashed features share (`hash_lookups` of a feature).

    Example:
        >>> import mal_tf
        >>> features = [{"type": "categorical", "name": "item"}]
        >>> mal_tf.FeatureSpec(features=features, vocabulary=mal_tf.VocabularyConfig(min_count=5)).vocabulary.min_count
        5
    """

    min_count: int = pydantic.Field(1, ge=1)
    max_size: int | None = pydantic.Field(None, ge=1)
    oov_buckets: int = pydantic.Field(1, ge=1)
    hash_buckets: int | None = pydantic.Field(None, ge=2, lt=2**31)


class Clicks(Protocol):
    """Clicks from which features take their values."""

    @property
    def timestamp(self) -> Any:
        """NumPy int64 [clicks], in time units since 1970."""

    @property
    def units_per_second(self) -> int:
        """Time units in a second."""

    def column(self, name: str) -> pa.Array:
        """A raw column that a feature asked for in `columns`."""

    def history(self, feature: "HistoryFeature") -> pa.ListArray:
        """The events of each click's user that a history feature lists."""


class Feature(Frozen, abc.ABC):
    """One feature of a click.

    Attributes:
        type: feature type; one of your own as `package.module:Class`.
        name: name in the tf.Example, in the schema and in the served signature.
    """

    type: str
    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$")

    #: Whether a click has a list of values. Such a feature has a field `length`, the most values that the model sees.
    sequence: ClassVar[bool] = False
    #: Whether the values are looked up as rows of an embedding table.
    embedded: ClassVar[bool] = True
    #: Whether lines can be appended to an earlier vocabulary while the rows of the old ones stay as they were.
    vocabulary_grows: ClassVar[bool] = False
    #: Whether one value serves all ads of a request in `predict_candidates`; values of other features are repeated per ad.
    serves_once: ClassVar[bool] = False

    if TYPE_CHECKING:
        # Subclasses declare these as a field, a property or a class attribute.

        @property
        def dtype(self) -> str:
            """Type of the values in the tf.Example: `string`, `int64` or `float32`."""

        @property
        def length(self) -> int:
            """Most values that the model sees, for a `sequence`."""

        @property
        def source_column(self) -> str:
            """Column of the click table that holds the values, for a `ColumnFeature`."""

    def value_dtype(self, spec: "FeatureSpec") -> str:
        """Type of the values: `dtype`, or that of the feature whose values this one lists."""
        return self.dtype

    @property
    def has_vocabulary(self) -> bool:
        """Whether a vocabulary counted from the training clicks determines the rows of the embedding table."""
        return False

    @property
    def table(self) -> str:
        """Name of the feature whose lookup and embedding table this one uses."""
        return self.name

    @property
    def meaning(self) -> dict[str, Any]:
        """Properties, beside the name, that trained weights depend on. A warm start compares them."""
        return {"type": self.type}

    def check(self, spec: "FeatureSpec") -> None:
        """Checks the feature against the others of the spec.

        Raises:
            ValueError: the feature refers to one that is not there, or does not fit it.
        """

    # From the logs to tf.Examples.

    def columns(self, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
        """Raw columns that the feature needs of the `clicks` or `conversions` table, with dtypes (keys of `ARROW_TYPE`)."""
        return {}

    @abc.abstractmethod
    def select(self, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
        """Values of the feature, one per click, of type `ARROW_TYPE[dtype]` or lists of that type."""

    # Vocabulary.

    def tokens(self, values: pa.Array) -> pa.Array:
        """Tokens that the vocabulary counts, from values without nulls."""
        return values

    def discrete(self, values: pa.Array) -> pa.Array:
        """Discretised values, of the same length, which attribution uses to balance confounders."""
        return values

    def cut(self, counts: pa.Table, config: VocabularyConfig, previous: Sequence[str] | None) -> list[str]:
        """Lines of the vocabulary file; see `features.vocabulary.cut`."""
        raise NotImplementedError(f"feature type '{self.type}' has no vocabulary")

    # Lookup and network.

    def rows(self, vocabulary: Sequence[str], config: VocabularyConfig) -> int:
        """Number of rows of the embedding table, including row 0 for the missing value."""
        raise NotImplementedError(f"feature type '{self.type}' has no embedding table")

    def lookup(self, vocabulary: Sequence[str], config: VocabularyConfig) -> Callable | None:
        """Keras layer or function on tensors from values to rows of the table; None to pass the values on unchanged."""
        return None

    def vector(self, values: Any, config: Any) -> Any:
        """The feature's part of the click vector, for features that are lists or not embedded.

        Args:
            values: output of the lookup, or its embeddings where `embedded`: float [batch, …].
            config: `mal_tf.models.config.ModelConfig`.

        Returns:
            float [batch, any].
        """
        raise NotImplementedError(f"feature type '{self.type}' does not implement `vector`, the network's input")


class ColumnFeature(Feature):
    """A feature whose values are read from a column of the click table.

    Attributes:
        name: name in the tf.Example, in the schema and in the served signature.
        column: column of the click table; `name` by default.
    """

    column: str | None = None

    @property
    def source_column(self) -> str:
        """Column of the click table that holds the values."""
        return self.column or self.name

    def columns(self, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
        """See base class."""
        return {self.source_column: self.dtype} if events == "clicks" else {}

    def select(self, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
        """See base class."""
        return clicks.column(self.source_column)
