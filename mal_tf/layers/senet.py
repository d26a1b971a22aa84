"""Squeeze and excitation: which coordinates of the fields' embeddings matter for this click."""

from features.errors import MalTfError
from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class SqueezeExcitation(keras.layers.Layer):
    """SENET over chunks, the form that PyMAL (alimama-tech/PyMAL) puts before its experts.

    x is cut into n chunks x_1 … x_n of `width`; m = Σ_i x_i / n; s = σ(W2 · relu(W1 · m)); output = [x_1 ∘ s; …; x_n ∘ s].
    No biases. The gate is over the `width` coordinates and the same for every field.

    FiBiNET (Huang et al., RecSys '19, arXiv 1905.09433) does it the other way round: it squeezes each field to the mean
    of its coordinates and learns one gate per *field*.

    Args:
        width: of a chunk, the embedding's.
        reduction: how many times narrower the hidden layer is than the chunk.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> fields = tf.ones([2, 3 * 16])
        >>> mal_tf.layers.SqueezeExcitation(width=16)(fields).shape
        TensorShape([2, 48])
    """

    def __init__(self, width: int = 16, reduction: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.width, self.reduction = width, reduction
        self._squeeze = keras.layers.Dense(max(width // reduction, 1), activation="relu", use_bias=False)
        self._excite = keras.layers.Dense(width, activation="sigmoid", use_bias=False)

    def build(self, shape):
        """See base class."""
        if shape[-1] % self.width:
            raise MalTfError(
                f"SENET cuts its input into chunks of the embedding's width, {self.width}, but gets {shape[-1]} numbers; "
                "give all features that width and model.tiers a multiple of it, or set model.senet to false"
            )
        super().build(shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Float [batch, n · width] to the same shape."""
        chunks = tf.reshape(inputs, [-1, inputs.shape[-1] // self.width, self.width])
        gate = self._excite(self._squeeze(tf.reduce_mean(chunks, axis=1)))
        return tf.reshape(chunks * gate[:, tf.newaxis, :], tf.shape(inputs))

    def get_config(self):
        """See base class."""
        return super().get_config() | {"width": self.width, "reduction": self.reduction}
