"""Target attention over a user's history, with the click as the query (Deep Interest Network)."""

from collections.abc import Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class TargetAttention(keras.layers.Layer):
    """Activation unit of the Deep Interest Network (Zhou et al., KDD '18, arXiv 1706.06978).

    output = Σ_t mask_t · a(q, k_t) · k_t, a = MLP([q, k_t, q − k_t, q ∘ k_t]) → scalar. The weights are not normalised over
    t, which preserves the strength of interest. An empty history gives 0.

    The first layer of the MLP is applied in parts. With the rows W_q, W_k, W_d, W_p of its kernel for the four parts of its
    input, W x = (W_q + W_d) q + (W_k − W_d) k_t + W_p (q ∘ k_t), where the first term is computed once per query and the
    second once per key.

    Args:
        units: widths of the hidden layers of the scoring MLP.

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
        """Attends over the history.

        Args:
            inputs: query float [batch, dim], keys float [batch, time, dim], mask bool [batch, time] (False: padding).
                All queries attend over a single history if keys are [1, time, dim] and mask is [1, time].

        Returns:
            float [batch, dim].
        """
        query, keys, mask = inputs
        first, *others = *self._hidden, self._score
        w_query, w_key, w_difference, w_product = tf.split(first.kernel, 4)
        query_term = tf.matmul(query, w_query + w_difference) + first.bias
        key_term = tf.tensordot(keys, w_key - w_difference, 1)
        product_term = tf.tensordot(query[:, tf.newaxis, :] * keys, w_product, 1)
        scores = first.activation(query_term[:, tf.newaxis, :] + key_term + product_term)
        for layer in others:
            scores = layer(scores)
        weights = tf.squeeze(scores, axis=-1) * tf.cast(mask, keys.dtype)
        # Without transpose_a, with which TensorFlow 2.16 computes wrong values if a single history is broadcast.
        return tf.squeeze(tf.matmul(weights[:, tf.newaxis, :], keys), axis=1)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"units": self.units}
