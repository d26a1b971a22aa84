"""Vocabularies of features: exact counts of values, merged in any order and cut to tokens or bucket boundaries.

A vocabulary is a text file `vocabulary/<feature>.txt` with one entry per line. For a categorical feature these are its
tokens, most frequent first, ties by token; for a numeric feature its ascending bucket boundaries.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import contract
from features.arrays import flat
from features.feature import MISSING
from features.in_memory import typed_columns

if TYPE_CHECKING:
    from features.feature import Feature, VocabularyConfig
    from features.spec import FeatureSpec

_BINS_PER_OCTAVE = 8
_EXPONENT_OFFSET = 1100  # below the smallest exponent of a float64


def bin_numbers(values: np.ndarray) -> np.ndarray:
    """Bins numbers on a fixed log scale with eight bins per octave, mirrored for negative numbers; 0 is a bin of its own.

    Args:
        values: float array without NaN.

    Returns:
        int64 array of bins in the order of the values.
    """
    mantissa, exponent = np.frexp(np.abs(values, dtype=np.float64))
    size = (exponent + _EXPONENT_OFFSET) * _BINS_PER_OCTAVE + ((mantissa - 0.5) * 2 * _BINS_PER_OCTAVE).astype(np.int64)
    return np.where(values == 0, 0, np.sign(values).astype(np.int64) * size)


def _lower_edge(bins: np.ndarray) -> np.ndarray:
    size = np.abs(bins) + (bins < 0)  # the lower edge of a negative bin is the upper edge of its mirror image
    exponent, part = np.divmod(size, _BINS_PER_OCTAVE)
    edge = np.ldexp(0.5 + part / (2 * _BINS_PER_OCTAVE), exponent - _EXPONENT_OFFSET)
    return np.where(bins == 0, 0.0, np.sign(bins) * edge)


def count(feature: "Feature", values: pa.Array) -> pa.Table:
    """Counts the values of a column. Returns columns `token` (see `Feature.tokens`) and `count` (int64)."""
    counts = contract.token_counts(feature, values)
    return pa.table({"token": counts.field("values"), "count": counts.field("counts")})


def merge(counts: Iterable[pa.Table]) -> pa.Table:
    """Adds up counts. They are exact integers, so the order does not matter."""
    merged = pa.concat_tables(list(counts)).group_by("token").aggregate([("count", "sum")])
    merged = merged.rename_columns(["count" if name == "count_sum" else name for name in merged.column_names])
    return merged.select(["token", "count"])


def cut(
    feature: "Feature", counts: pa.Table, config: "VocabularyConfig", previous: Sequence[str] | None = None
) -> list[str]:
    """Turns counts into the lines of the vocabulary file.

    Args:
        feature: feature whose values were counted.
        counts: columns `token`, `count`.
        config: limits for a feature that has none of its own.
        previous: lines of an earlier vocabulary. They keep their places, and tokens that it lacks follow as far as the
            size limit allows. Bucket boundaries stay as they were.
    """
    return contract.cut(feature, counts, config, previous)


def cut_tokens(counts: pa.Table, min_count: int, max_size: int | None, previous: Sequence[str]) -> list[str]:
    """Tokens of `previous`, followed by the most frequent other ones, ties by token.

    Tokens with a line break are left out, because they can't be lines of the vocabulary file.
    """
    previous = list(previous)
    counts = counts.filter(pc.greater_equal(counts["count"], min_count))
    if pa.types.is_string(counts["token"].type):
        counts = counts.filter(pc.invert(pc.match_substring_regex(counts["token"], "[\r\n]")))
    earlier = pc.is_in(counts["token"].cast(pa.string()), value_set=pa.array(previous, pa.string()))
    counts = counts.filter(pc.invert(earlier)).sort_by([("count", "descending"), ("token", "ascending")])
    room = None if max_size is None else max(max_size - len(previous), 0)
    return previous + [str(token) for token in counts["token"][:room].to_pylist()]


def cut_boundaries(counts: pa.Table, buckets: int) -> list[str]:
    """Boundaries between buckets of about equal mass, from counts of `bin_numbers`."""
    return [repr(float(boundary)) for boundary in _boundaries(counts, buckets)]


def vocabularies(features: "FeatureSpec", clicks: pd.DataFrame | pa.Table) -> dict[str, list[str]]:
    """Builds the vocabularies of the features from the clicks to train on.

    Args:
        features: features and limits of their vocabularies.
        clicks: a column per feature, such as `mal_tf.labels` returns.

    Returns:
        Tokens or bucket boundaries by feature name. Hashed features and histories have no vocabulary of their own.

    Raises:
        BadInput: the column of a feature is missing or of another type.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[mal_tf.CategoricalFeature(type="categorical", name="place")])
        >>> mal_tf.vocabularies(features, pd.DataFrame({"place": ["top", "side", "top"]}))
        {'place': ['top', 'side']}
    """
    types = {feature.name: features.arrow_types[feature.name] for feature in features.with_vocabulary}
    table = typed_columns(clicks, types)
    vocabularies = {}
    for feature in features.with_vocabulary:
        values = flat(table[feature.name])
        if not feature.sequence:  # In memory, a missing value may also be given as its replacement.
            values = values.filter(pc.not_equal(values, pa.scalar(MISSING[features.dtype(feature)], values.type)))
        vocabularies[feature.name] = cut(feature, count(feature, values), features.vocabulary)
    return vocabularies


def _boundaries(counts: pa.Table, buckets: int) -> np.ndarray:
    counts = counts.sort_by("token")
    bins, mass = counts["token"].to_numpy(), np.cumsum(counts["count"].to_numpy())
    if not len(bins):
        return np.zeros(0, np.float32)
    quantiles = np.searchsorted(mass, mass[-1] * np.arange(1, buckets) / buckets, side="left")
    # The edge of the lowest bin is left out, since the bucket below it would be empty.
    return np.unique(_lower_edge(bins[quantiles[quantiles > 0]]).astype(np.float32))


def read(text: str) -> list[str]:
    """Splits the text of a vocabulary file into lines. The last one needs no line end, as editors may leave it out."""
    return text.removesuffix("\n").split("\n") if text else []


def write(lines: list[str]) -> str:
    """Joins lines to the text of a vocabulary file."""
    return "".join(f"{line}\n" for line in lines)
