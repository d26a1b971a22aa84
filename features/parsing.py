"""Parsing of serialized tf.Examples into tensors in the TensorFlow graph, the inverse of `features.example`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from features.example import examples
from features.feature import MISSING
from features.keras2 import tf
from features.spec import FeatureSpec

_DTYPE = {"string": tf.string, "int64": tf.int64, "float32": tf.float32}


def raw_signature(spec: FeatureSpec) -> dict[str, tf.TensorSpec]:
    """Shapes and types of the raw model inputs by feature name: single values [batch], lists [batch, any]."""
    return {
        f.name: tf.TensorSpec([None, None] if f.sequence else [None], _DTYPE[spec.dtype(f)], f.name)
        for f in spec.features
    }


def raw_features(clicks: pd.DataFrame | pa.Table, spec: FeatureSpec) -> dict[str, np.ndarray]:
    """Returns the raw model inputs of clicks in memory.

    Args:
        clicks: a column per feature, such as `mal_tf.labels` returns.
        spec: features.

    Returns:
        Arrays by feature name: single values [clicks], lists [clicks, longest list], of the feature's dtype.

    Raises:
        BadInput: the column of a feature is missing or of another type. A column without any value fits every type.

    Example:
        >>> import mal_tf
        >>> import pandas as pd
        >>> features = mal_tf.FeatureSpec(features=[{"type": "numeric", "name": "price"}])
        >>> mal_tf.raw_features(pd.DataFrame({"price": [1.5, None]}), features)
        {'price': array([1.5, nan], dtype=float32)}
    """
    serialized = examples(clicks, spec.arrow_types)
    parsed = parse_features(tf.constant(serialized, tf.string), spec)
    return {name: values.numpy() for name, values in parsed.items()}


def parse_features(
    serialized: tf.Tensor, spec: FeatureSpec, extra: Sequence[tuple[str, str]] = ()
) -> dict[str, tf.Tensor]:
    """Parses a batch of serialized tf.Examples.

    Args:
        serialized: string [batch].
        spec: features to parse; missing values become `MISSING`.
        extra: name and dtype of further required scalar columns, such as labels.

    Returns:
        Features as in `raw_signature` and `extra` columns of shape [batch]. Lists are as wide as the longest one
        in the batch.
    """
    parsing = {}
    for feature in spec.features:
        dtype = spec.dtype(feature)
        kind = tf.io.FixedLenSequenceFeature if feature.sequence else tf.io.FixedLenFeature
        options = {"allow_missing": True} if feature.sequence else {}
        parsing[feature.name] = kind([], _DTYPE[dtype], default_value=MISSING[dtype], **options)
    parsing |= {name: tf.io.FixedLenFeature([], _DTYPE[dtype]) for name, dtype in extra}
    return tf.io.parse_example(serialized, parsing)
