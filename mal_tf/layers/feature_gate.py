"""Feature gate of HoME, which reweights the shared input for each expert."""

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class FeatureGate(keras.layers.Layer):
    """HoME's feature gate (arXiv 2408.05430): x ∘ 2σ(B · A · x), A [rank, dim], B [dim, rank], without biases.

    The low rank keeps it cheap on a wide input. Because of the factor 2, gate weights of zero pass x through unchanged.

    Args:
        rank: rank of the gate's weights.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> mal_tf.layers.FeatureGate(rank=2)(tf.ones([2, 4])).shape
        TensorShape([2, 4])
    """

    def __init__(self, rank: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self._down = keras.layers.Dense(rank, use_bias=False)

    def build(self, shape):
        """See base class."""
        self._up = keras.layers.Dense(shape[-1], use_bias=False, activation="sigmoid")
        super().build(shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Float [batch, dim] to float [batch, dim]."""
        return inputs * 2 * self._up(self._down(inputs))

    def get_config(self):
        """See base class."""
        return super().get_config() | {"rank": self.rank}
