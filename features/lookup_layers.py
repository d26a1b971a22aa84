"""Keras layers from raw values to rows of embedding tables. Row 0 is the missing value and the padding of lists."""

import re
from collections.abc import Callable, Sequence

from features.feature import MISSING
from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class BucketLookup(keras.layers.Layer):
    """Bucket of a number: 0 for NaN, otherwise 1 + the number of boundaries ≤ it.

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
    """Row of a token: 0 for the missing value, then `oov_buckets` rows for unknown tokens, then the vocabulary.

    Computes what `StringLookup` and `IntegerLookup` do with a mask token, in one table lookup instead of five passes.

    Args:
        tokens: tokens of the vocabulary, as the lines of its file.
        dtype_of_tokens: `string` or `int64`.
        oov_buckets: rows that unknown tokens are hashed into.
    """

    def __init__(self, tokens: Sequence[str], dtype_of_tokens: str, oov_buckets: int, **kwargs):
        super().__init__(**kwargs)
        self.tokens, self.dtype_of_tokens, self.oov_buckets = list(tokens), dtype_of_tokens, oov_buckets
        parse = str if dtype_of_tokens == "string" else int
        keys = tf.constant([MISSING[dtype_of_tokens], *map(parse, self.tokens)], dtype_of_tokens)
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
    """Cuts or pads the second axis to `length`, so that all histories have the same width.

    Args:
        length: width of the result.
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


@keras.utils.register_keras_serializable("mal_tf")
class CheckRows(keras.layers.Layer):
    """Passes rows on, with an error if one is outside of its table: it would be a row of another feature.

    Args:
        rows: rows of the table.
        what: the feature and its type, for the message.
    """

    def __init__(self, rows: int, what: str, **kwargs):
        super().__init__(**kwargs)
        self.rows, self.what = rows, what

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Integers [...], unchanged."""
        expected = f"{self.what}: expected rows from 0 to {self.rows - 1}, as `rows` is {self.rows}; found "
        message = tf.strings.format(expected + "{} to {}", (tf.reduce_min(values), tf.reduce_max(values)))
        within = tf.reduce_all((values >= 0) & (values < self.rows))
        with tf.control_dependencies([tf.debugging.Assert(within, [message])]):
            return tf.identity(values)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"rows": self.rows, "what": self.what}


def outside_of_table(error: Exception) -> str | None:
    """The message of `CheckRows` in an error of TensorFlow's; None without."""
    message = str(error).replace("\\'", "'")  # TensorFlow quotes the quotes of assertions in graphs.
    found = re.search(r"feature type '[^']*' of feature '\w*', lookup: expected rows .*; found -?\d+ to -?\d+", message)
    return found.group() if found else None


def hashing(name: str, dtype: str, buckets: int, salt: int, lookups: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Function that hashes each token to several rows of one table: [...] to int32 [..., lookups]. See `features.lookup`."""
    layers = [
        keras.layers.Hashing(buckets, MISSING[dtype], [salt, n], name=f"hash_{n}_{name}", dtype="int32")
        for n in range(lookups)
    ]
    if lookups == 1:  # Keras 2 would load tf.stack of a list of one tensor as called on that tensor.
        return lambda values: tf.expand_dims(layers[0](values), axis=-1)
    return lambda values: tf.stack([layer(values) for layer in layers], axis=-1)
