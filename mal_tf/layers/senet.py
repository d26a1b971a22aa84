"""Squeeze-and-excitation gate over the coordinates of the embeddings of a click."""

from features.errors import MalTfError
from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class SqueezeExcitation(keras.layers.Layer):
    """SENET over chunks, in the form that PyMAL (alimama-tech/PyMAL) applies before its experts.

    x is split into n chunks x_1 … x_n of `width`; m = Σ_i x_i / n; s = σ(W2 · relu(W1 · m)); output = [x_1 ∘ s; …; x_n ∘ s].
    There are no biases. The gate has one value per coordinate, which all fields share.

    FiBiNET (Huang et al., RecSys '19, arXiv 1905.09433) differs: it squeezes each field to the mean of its coordinates and
    learns one gate value per *field*.

    Args:
        width: width of a chunk, which is that of an embedding.
        reduction: ratio of the chunk's width to that of the hidden layer.

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
                f"SENET splits its input into chunks of the embedding width, expected a multiple of {self.width} numbers, found "
                f"{shape[-1]}; give all features that width and model.tiers a multiple of it, or set model.senet to false"
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
