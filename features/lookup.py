"""Raw feature values to embedding rows, as a Keras model that is trained with and exported: no train/serve skew.

Row 0 of every table is the missing value (and the padding of histories). Categorical tables go on with
`oov_buckets` rows for unknown tokens, then the vocabulary; numeric tables with a row per bucket.
"""

from collections.abc import Mapping, Sequence

from features.keras2 import keras, tf
from features.parsing import MISSING, raw_signature
from features.spec import SEQUENCES, FeatureSpec, HistoryFeature, NumericFeature


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
        vocabularies: lines of each scalar feature's vocabulary file, by feature name.

    Returns:
        Functional model: inputs as in `features.parsing.raw_signature`, outputs by feature name, scalars int32
        [batch], histories int32 [batch, length], similarities as they are, float32 [batch, length], padded with NaN.
    """
    inputs = {
        name: keras.Input(shape=signature.shape[1:], dtype=signature.dtype, name=name)
        for name, signature in raw_signature(spec).items()
    }
    layers = {f.name: _layer(f, vocabularies[f.name], spec) for f in spec.scalars}
    outputs = {}
    for feature in spec.features:
        values = inputs[feature.name]
        if isinstance(feature, SEQUENCES):
            values = FitLength(feature.length, MISSING[spec.dtype(feature)], name=f"fit_{feature.name}")(values)
        if isinstance(feature, HistoryFeature):
            values = layers[feature.of](values)
        elif feature.name in layers:
            values = layers[feature.name](values)
        outputs[feature.name] = values if values.dtype == tf.float32 else tf.cast(values, tf.int32)
    return keras.Model(inputs, outputs, name="lookup")


def table_sizes(spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Rows of each scalar feature's embedding table."""
    return {
        f.name: len(vocabularies[f.name]) + (2 if isinstance(f, NumericFeature) else 1 + spec.vocabulary.oov_buckets)
        for f in spec.scalars
    }


# Keras takes no empty vocabulary, which min_count can leave: then a token that no vocabulary can hold stands in.
def _layer(feature, lines: Sequence[str], spec: FeatureSpec) -> keras.layers.Layer:
    name = f"lookup_{feature.name}"
    if isinstance(feature, NumericFeature):
        return BucketLookup([float(line) for line in lines], name=name)
    oov = spec.vocabulary.oov_buckets
    if feature.dtype == "int64":
        tokens = [int(line) for line in lines] or [MISSING["int64"] + 2]
        return keras.layers.IntegerLookup(
            vocabulary=tokens,
            mask_token=MISSING["int64"],
            oov_token=MISSING["int64"] + 1,
            num_oov_indices=oov,
            name=name,
        )
    return keras.layers.StringLookup(
        vocabulary=list(lines) or ["\n"], mask_token="", oov_token="[UNK]", num_oov_indices=oov, name=name
    )
