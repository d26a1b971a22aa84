"""The feature: the one interface that every type of feature has, from the raw log to the network's input.

A new type is a subclass: one that comes with mal-tf has its line in `features.feature_types.TYPES`, one of your own is given
in a config as `type: package.module:Class`. See docs/extending.md.
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

#: Stands for a missing value of an int64 feature; string features use the empty string, float32 features NaN.
INT64_MISSING = -(2**63)

#: What a missing value is replaced by, by dtype.
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


class Clicks(Protocol):
    """The clicks of which features take their values."""

    @property
    def timestamp(self) -> Any:
        """NumPy int64 [clicks], in time units since 1970."""

    @property
    def units_per_second(self) -> int:
        """Time units in a second."""

    def column(self, name: str) -> pa.Array:
        """A raw column that a feature asked for in `columns`."""

    def history(self, feature: "HistoryFeature") -> pa.ListArray:
        """What a history feature remembers of each click's user."""


class Feature(Frozen, abc.ABC):
    """One feature of a click.

    Attributes:
        type: what kind it is; your own as `package.module:Class`.
        name: name in the tf.Example, in the schema and in the served signature.
    """

    type: str
    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$")

    #: Whether a click has a list of values; then the feature has a field `length`, the most that the model sees.
    sequence: ClassVar[bool] = False
    #: Whether the network embeds the values: they are looked up as rows of an embedding table.
    embedded: ClassVar[bool] = True
    #: Whether an earlier vocabulary can grow by more lines, the rows of the old ones staying as they were.
    vocabulary_grows: ClassVar[bool] = False
    #: Whether a single value serves all ads of a request as it is (`predict_candidates`); others are repeated for each.
    serves_once: ClassVar[bool] = False

    if TYPE_CHECKING:
        # What features have as a field, a property or a class attribute, as suits the type.

        @property
        def dtype(self) -> str:
            """Type of the values in the tf.Example: `string`, `int64` or `float32`."""

        @property
        def length(self) -> int:
            """Of a `sequence`: the most values that the model sees."""

        @property
        def source_column(self) -> str:
            """Of a `ColumnFeature`: column of the click table that holds the values."""

    def value_dtype(self, spec: "FeatureSpec") -> str:
        """`dtype`, or that of another feature."""
        return self.dtype

    @property
    def has_vocabulary(self) -> bool:
        """Whether a vocabulary made of the training clicks decides the rows."""
        return False

    @property
    def table(self) -> str:
        """Name of the feature whose lookup, and whose table, this one uses."""
        return self.name

    @property
    def meaning(self) -> dict[str, Any]:
        """What weights that read the feature depend on, beside its name; a warm start compares it."""
        return {"type": self.type}

    def check(self, spec: "FeatureSpec") -> None:
        """Raises ValueError if the feature does not fit among the others."""

    # From the logs to tf.Examples.

    def columns(self, events: str, spec: "FeatureSpec") -> Mapping[str, str]:
        """Raw columns of the `clicks` or the `conversions` table that it needs, with their dtypes, keys of `ARROW_TYPE`."""
        return {}

    @abc.abstractmethod
    def select(self, clicks: Clicks, spec: "FeatureSpec") -> pa.Array:
        """Its value of each click, as it is written: of type `ARROW_TYPE[dtype]`, or lists of that."""

    # Vocabulary.

    def tokens(self, values: pa.Array) -> pa.Array:
        """What a vocabulary counts: values without nulls to tokens."""
        return values

    def discrete(self, values: pa.Array) -> pa.Array:
        """Values as groups of alike ones, of the same length: what attribution balances confounders by."""
        return values

    def cut(self, counts: pa.Table, config: VocabularyConfig, previous: Sequence[str] | None) -> list[str]:
        """Lines of the vocabulary file; see `features.vocabulary.cut`."""
        raise NotImplementedError(f"feature type '{self.type}' has no vocabulary")

    # Lookup and network.

    def rows(self, vocabulary: Sequence[str], config: VocabularyConfig) -> int:
        """Rows of its embedding table, row 0 for the missing value."""
        raise NotImplementedError(f"feature type '{self.type}' has no embedding table")

    def lookup(self, vocabulary: Sequence[str], config: VocabularyConfig) -> Callable | None:
        """Keras layer, or function on tensors, from values to rows of the table; None: the values as they are."""
        return None

    def vector(self, values: Any, config: Any) -> Any:
        """The feature's part of the click's vector, for what is not embedded or a list.

        Args:
            values: what the lookup gave; its embeddings where `embedded`. float [batch, …].
            config: `mal_tf.models.config.ModelConfig`.

        Returns:
            float [batch, any].
        """
        raise NotImplementedError(f"feature type '{self.type}' does not say what the network makes of it")


class ColumnFeature(Feature):
    """A feature whose values stand in a column of the click table.

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
