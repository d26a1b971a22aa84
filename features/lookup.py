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

import zlib
from collections.abc import Callable, Mapping, Sequence

from features.keras2 import keras, tf
from features.parsing import MISSING, raw_signature
from features.spec import SEQUENCES, CategoricalFeature, FeatureSpec, HistoryFeature, NumericFeature

#: Stands for the table of the hashed features where others have their feature's name; no feature can be called so.
HASHED = "<hashed>"


@keras.utils.register_keras_serializable("mal_tf")
class BucketLookup(keras.layers.Layer):
    """Bucket of a number: 0 if NaN, else 1 + how many boundaries are ≤ it.

    Args:
        boundaries: ascending floats.
    """

    def __init__(self, boundaries: Sequence[float], **kwargs):
        super().__init__(**kwargs)
        self.boundaries = [float(b) for b in boundaries]

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """float32 [...] to int32 [...]."""
        bucket = 1 + tf.raw_ops.Bucketize(input=values, boundaries=self.boundaries)
        return tf.where(tf.math.is_nan(values), 0, bucket)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"boundaries": self.boundaries}


@keras.utils.register_keras_serializable("mal_tf")
class TokenLookup(keras.layers.Layer):
    """Row of a token: 0 for the missing value, then those of unknown tokens, then the vocabulary's.

    What `StringLookup` and `IntegerLookup` do with a mask token, in one table lookup where they take five passes.

    Args:
        tokens: of the vocabulary, as its file's lines.
        dtype_of_tokens: `string` or `int64`.
        oov_buckets: rows that unknown tokens are hashed into.
    """

    def __init__(self, tokens: Sequence[str], dtype_of_tokens: str, oov_buckets: int, **kwargs):
        super().__init__(**kwargs)
        self.tokens, self.dtype_of_tokens, self.oov_buckets = list(tokens), dtype_of_tokens, oov_buckets
        of = str if dtype_of_tokens == "string" else int
        keys = tf.constant([MISSING[dtype_of_tokens], *map(of, self.tokens)], dtype_of_tokens)
        rows = tf.concat([[0], tf.range(len(self.tokens)) + 1 + oov_buckets], axis=0)
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), default_value=1)

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """String or int64 [...] to int32 [...]."""
        rows = self.table.lookup(values)
        if self.oov_buckets == 1:
            return rows
        hashed = tf.strings.to_hash_bucket_fast if self.dtype_of_tokens == "string" else tf.math.floormod
        return tf.where(rows == 1, 1 + tf.cast(hashed(values, self.oov_buckets), tf.int32), rows)

    def get_config(self):
        """See base class."""
        own = {"tokens": self.tokens, "dtype_of_tokens": self.dtype_of_tokens, "oov_buckets": self.oov_buckets}
        return super().get_config() | own


@keras.utils.register_keras_serializable("mal_tf")
class FitLength(keras.layers.Layer):
    """Cuts or pads the second axis to `length`, so that the network sees histories of one width.

    Args:
        length: width after.
        padding: value to pad with.
    """

    def __init__(self, length: int, padding: str | int | float, **kwargs):
        super().__init__(**kwargs)
        self.length, self.padding = length, padding

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """[batch, any] to [batch, length]."""
        values = values[:, : self.length]
        short = self.length - tf.shape(values)[1]
        padded = tf.pad(values, [[0, 0], [0, short]], constant_values=tf.constant(self.padding, values.dtype))
        return tf.ensure_shape(padded, [None, self.length])

    def get_config(self):
        """See base class."""
        return super().get_config() | {"length": self.length, "padding": self.padding}


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
    layers = {f.name: _layer(f, vocabularies[f.name], spec) for f in spec.with_vocabulary}
    layers |= {f.name: _hashing(f, spec.vocabulary.hash_buckets) for f in spec.categorical if f.hash_lookups}
    outputs = {}
    for feature in spec.features:
        values = inputs[feature.name]
        if isinstance(feature, SEQUENCES):
            values = FitLength(feature.length, MISSING[spec.dtype(feature)], name=f"fit_{feature.name}")(values)
        if isinstance(feature, HistoryFeature):
            values = layers[feature.of](values)
        elif feature.name in layers:
            values = layers[feature.name](values)
        outputs[feature.name] = values
    return keras.Model(inputs, outputs, name="lookup")


def table_sizes(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Rows of each embedding table: by feature, and `HASHED` if there are hashed ones."""
    sizes = {
        f.name: len(vocabularies[f.name]) + (2 if isinstance(f, NumericFeature) else 1 + spec.vocabulary.oov_buckets)
        for f in spec.with_vocabulary
    }
    return sizes | ({HASHED: spec.vocabulary.hash_buckets} if spec.hash_lookups else {})


def _hashing(feature: CategoricalFeature, buckets: int) -> Callable[[tf.Tensor], tf.Tensor]:
    salt = zlib.crc32(feature.name.encode())
    layers = [
        keras.layers.Hashing(buckets, MISSING[feature.dtype], [salt, n], name=f"hash_{n}_{feature.name}", dtype="int32")
        for n in range(feature.hash_lookups)
    ]
    return lambda values: tf.stack([layer(values) for layer in layers], axis=-1)


def _layer(feature, lines: Sequence[str], spec: FeatureSpec) -> keras.layers.Layer:
    name = f"lookup_{feature.name}"
    if isinstance(feature, NumericFeature):
        return BucketLookup([float(line) for line in lines], name=name)
    return TokenLookup(lines, feature.dtype, spec.vocabulary.oov_buckets, name=name)
