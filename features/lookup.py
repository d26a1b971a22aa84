"""Keras model from raw feature values to rows of embedding tables, used in training and exported, so that both agree.

Row 0 of every table is the missing value and the padding of histories. In categorical tables, `oov_buckets` rows for unknown
tokens and then the vocabulary follow; in numeric tables, one row per bucket.

Hashed features have no vocabulary and share one table, in which a token has several rows. The scheme is that of TFRS'
`layers.feature_multiplexing.UnifiedEmbedding` (Coleman et al., arXiv 2305.12102): a `Hashing` layer (SipHash) for each
feature and lookup, with a salt of two numbers. That layer itself is not used, for three reasons. It hashes within the network,
which would have to receive raw values. Its tables support SGD, Adagrad, Adam and FTRL only. Its salts number the features in
their order, so that an added feature changes the rows of all tokens of those after it. Here the salts are the CRC-32 of the
feature's name and the number of the lookup, and row 0 is reserved for the missing value.
"""

from collections.abc import Mapping, Sequence

from features import contract
from features.errors import MalTfError
from features.feature import MISSING, Feature
from features.feature_types import TYPES
from features.keras2 import keras, tf
from features.lookup_layers import CheckRows, FitLength
from features.parsing import raw_signature
from features.spec import FeatureSpec

#: Key of the table that hashed features share, where other tables have their feature's name. No feature can have this name.
HASHED = "<hashed>"


def lookup_model(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> keras.Model:
    """Builds the model from raw feature values to rows of the embedding tables.

    Args:
        spec: features.
        vocabularies: lines of each vocabulary file by feature name, such as `mal_tf.vocabularies` returns.

    Returns:
        Functional model whose inputs are raw values by feature name, single ones [batch] and lists [batch, any]
        (`mal_tf.raw_features`). Outputs by feature name: scalars int32 [batch] and histories int32 [batch, length], with
        a further axis of lookups where the feature is hashed; similarities float32 [batch, length], unchanged and padded
        with NaN.

    Raises:
        MalTfError: a vocabulary is missing.

    Example:
        >>> import mal_tf
        >>> features = mal_tf.FeatureSpec(features=[{"type": "categorical", "name": "place"}])
        >>> lookup = mal_tf.lookup_model(features, {"place": ["top", "side"]})
        >>> lookup({"place": mal_tf.keras.backend.constant(["side", "", "unheard of"], "string")})["place"].numpy()
        array([3, 0, 1], dtype=int32)
    """
    inputs = {
        name: keras.Input(shape=signature.shape[1:], dtype=signature.dtype, name=name)
        for name, signature in raw_signature(spec).items()
    }
    layers, sizes = {}, table_sizes(spec, vocabularies)
    for feature in spec.features:
        with contract.feature_errors(feature, "lookup"):
            layers[feature.name] = feature.lookup(vocabularies.get(feature.name, ()), spec.vocabulary)
    outputs = {}
    for feature in spec.features:
        values, lookup, owner = inputs[feature.name], layers[feature.table], spec.feature(feature.table)
        if feature.sequence:
            values = FitLength(feature.length, MISSING[spec.dtype(feature)], name=f"fit_{feature.name}")(values)
        with contract.feature_errors(owner, "lookup"):
            outputs[feature.name] = lookup(values) if lookup else values
            if feature.embedded and type(owner) not in TYPES.values():
                outputs[feature.name] = _checked(owner, outputs[feature.name], sizes, feature.name)
    return keras.Model(inputs, outputs, name="lookup")


def _checked(owner: Feature, rows: tf.Tensor, sizes: Mapping[str, int], name: str) -> tf.Tensor:
    """Rows that a lookup of a user's own found, checked when they are computed; its built-in types need no check."""
    if not rows.dtype.is_integer:
        raise MalTfError(f"expected whole numbers of rows, int32 or int64; found {rows.dtype.name}")
    size = sizes[owner.name if owner.name in sizes else HASHED]
    what = f"feature type '{owner.type}' of feature '{owner.name}', lookup"
    return CheckRows(size, what, name=f"check_{name}")(rows)


def table_sizes(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Number of rows of each embedding table by feature name, and by `HASHED` if features are hashed.

    Raises:
        MalTfError: a vocabulary is missing.
    """
    _check(spec, vocabularies)
    sizes = {f.name: contract.rows(f, vocabularies.get(f.name, ()), spec.vocabulary) for f in spec.tables}
    buckets = spec.vocabulary.hash_buckets  # given if and only if features are hashed
    return sizes | ({HASHED: buckets} if buckets and spec.hash_lookups else {})


def _check(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> None:
    if missing := [feature.name for feature in spec.with_vocabulary if feature.name not in vocabularies]:
        raise MalTfError(
            f"the vocabulary of feature '{missing[0]}' is missing; found: {', '.join(vocabularies) or 'none'}. "
            "`mal_tf.vocabularies` builds those of all features"
        )
