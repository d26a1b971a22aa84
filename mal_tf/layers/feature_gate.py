"""Feature gate: each expert's own view of the shared input."""

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class FeatureGate(keras.layers.Layer):
    """x ∘ 2σ(B · A · x), A [rank, dim], B [dim, rank], no biases: HoME's feature gate (arXiv 2408.05430).

    Low rank keeps it cheap on a wide input; the 2 lets a gate of zeros pass x through unchanged.

    Args:
        rank: width in the middle.

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
