"""Target attention: which of a user's past events matter for this click."""

from collections.abc import Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class TargetAttention(keras.layers.Layer):
    """Activation unit of the Deep Interest Network.

    output = Σ_t mask_t · a(q, k_t) · k_t, a = MLP([q, k_t, q − k_t, q ∘ k_t]) → scalar; the weights are not normalised
    over t, so that the strength of interest is kept (Zhou et al., KDD '18, arXiv 1706.06978). An empty history gives 0.

    The MLP's first layer is applied in parts: with its kernel's rows W_q, W_k, W_d, W_p for the four parts of its input,
    W x = (W_q + W_d) q + (W_k − W_d) k_t + W_p (q ∘ k_t), of which the first term is one per query, the second one per key.

    Args:
        units: hidden layers of the scoring MLP.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> query, keys, mask = tf.ones([2, 4]), tf.ones([2, 5, 4]), tf.sequence_mask([5, 0], 5)
        >>> mal_tf.layers.TargetAttention(units=[8])((query, keys, mask)).shape
        TensorShape([2, 4])
    """

    def __init__(self, units: Sequence[int] = (32,), **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._hidden = [keras.layers.Dense(n, activation="relu") for n in self.units]
        self._score = keras.layers.Dense(1)

    def build(self, shapes):
        """See base class."""
        first = [*self._hidden, self._score][0]
        first.build([None, None, 4 * shapes[1][-1]])
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
            inputs: query float [batch, dim], keys float [batch, time, dim], mask bool [batch, time] (False: padding).
                With a single history, keys [1, time, dim] and mask [1, time], all queries attend over it.

        Returns:
            float [batch, dim].
        """
        query, keys, mask = inputs
        first, *others = *self._hidden, self._score
        of_query, of_key, of_difference, of_product = tf.split(first.kernel, 4)
        by_query = tf.matmul(query, of_query + of_difference) + first.bias
        by_key = tf.tensordot(keys, of_key - of_difference, 1)
        by_both = tf.tensordot(query[:, tf.newaxis, :] * keys, of_product, 1)
        scores = first.activation(by_query[:, tf.newaxis, :] + by_key + by_both)
        for layer in others:
            scores = layer(scores)
        weights = tf.squeeze(scores, axis=-1) * tf.cast(mask, keys.dtype)
        # Not by transpose_a: TensorFlow 2.16 gets that wrong where a single history is broadcast.
        return tf.squeeze(tf.matmul(weights[:, tf.newaxis, :], keys), axis=1)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"units": self.units}
