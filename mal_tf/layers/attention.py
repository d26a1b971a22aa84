"""Target attention: which of a user's past events matter for this click."""

from collections.abc import Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class TargetAttention(keras.layers.Layer):
    """Activation unit of the Deep Interest Network.

    output = Σ_t mask_t · a(q, k_t) · k_t, a = MLP([q, k_t, q − k_t, q ∘ k_t]) → scalar; the weights are not normalised
    over t, so that the strength of interest is kept (Zhou et al., KDD '18, arXiv 1706.06978). An empty history gives 0.

    Args:
        units: hidden layers of the scoring MLP.
    """

    def __init__(self, units: Sequence[int] = (32,), **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._hidden = [keras.layers.Dense(n, activation="relu") for n in self.units]
        self._score = keras.layers.Dense(1)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
            inputs: query float [batch, dim], keys float [batch, time, dim], mask bool [batch, time] (False: padding).

        Returns:
            float [batch, dim].
        """
        query, keys, mask = inputs
        query = tf.broadcast_to(query[:, tf.newaxis, :], tf.shape(keys))
        scores = tf.concat([query, keys, query - keys, query * keys], axis=-1)
        for layer in self._hidden:
            scores = layer(scores)
        weights = self._score(scores) * tf.cast(mask, keys.dtype)[..., tf.newaxis]
        return tf.reduce_sum(weights * keys, axis=1)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"units": self.units}
