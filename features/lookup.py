"""Raw feature values to embedding rows, as a Keras model that is trained with and exported: no train/serve skew.

Row 0 of every table is the missing value (and the padding of histories). Categorical tables go on with
`oov_buckets` rows for unknown tokens, then the vocabulary; numeric tables with a row per bucket.

Hashed features have no vocabulary and share one table; a token has several rows in it. The scheme is that of TFRS'
`layers.feature_multiplexing.UnifiedEmbedding` (Coleman et al., arXiv 2305.12102): a `Hashing` layer, SipHash, for each
feature and lookup, with a salt of two numbers. It is not that layer, for it hashes within the network, where raw values
would have to go; its tables take SGD, Adagrad, Adam or FTRL only; and its salts count the features in their order: with one
more, all tokens of those after it would have other rows. Our salts are the CRC-32 of the feature's name and the number of the
lookup, and row 0 is left to the missing value.
"""

from collections.abc import Mapping, Sequence

from features.feature import MISSING
from features.keras2 import keras
from features.lookup_layers import FitLength
from features.parsing import raw_signature
from features.spec import FeatureSpec

#: Stands for the table of the hashed features where others have their feature's name; no feature can be called so.
HASHED = "<hashed>"


def lookup_model(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> keras.Model:
    """Builds the model raw values → rows.

    Args:
        spec: features.
        vocabularies: lines of each vocabulary file, by feature name.

    Returns:
        Functional model: inputs as in `features.parsing.raw_signature`, outputs by feature name, scalars int32
        [batch], histories int32 [batch, length], both with a last axis of lookups where the feature is hashed,
        similarities as they are, float32 [batch, length], padded with NaN.
    """
    inputs = {
        name: keras.Input(shape=signature.shape[1:], dtype=signature.dtype, name=name)
        for name, signature in raw_signature(spec).items()
    }
    layers = {f.name: f.lookup(vocabularies.get(f.name, ()), spec.vocabulary) for f in spec.features}
    outputs = {}
    for feature in spec.features:
        values, lookup = inputs[feature.name], layers[feature.table]
        if feature.sequence:
            values = FitLength(feature.length, MISSING[spec.dtype(feature)], name=f"fit_{feature.name}")(values)
        outputs[feature.name] = lookup(values) if lookup else values
    return keras.Model(inputs, outputs, name="lookup")


def table_sizes(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Rows of each embedding table: by feature, and `HASHED` if there are hashed ones."""
    sizes = {f.name: f.rows(vocabularies.get(f.name, ()), spec.vocabulary) for f in spec.tables}
    buckets = spec.vocabulary.hash_buckets  # Given where, and only where, features are hashed.
    return sizes | ({HASHED: buckets} if buckets and spec.hash_lookups else {})
