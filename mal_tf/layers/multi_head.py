"""Multi-head attention over a user's history, with the click as the only query."""

from features.errors import MalTfError
from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class MultiHeadTargetAttention(keras.layers.Layer):
    """Scaled dot-product attention of a single query over a history.

    Q = W_q q + b_q, K_t = W_k k_t, V_t = W_v k_t + b_v, each split into `heads` parts of width w; per head
    o = Σ_t softmax_t(Q · K_t / √w) V_t; output = W_o [o_1; …; o_heads] + b_o (Vaswani et al., 2017, arXiv 1706.03762).
    Masked positions have no weight; if all are masked, o = 0. K has no bias, since it would shift all scores equally.

    With a single query, keys and values need not be computed for each position: Q · K_t = (W_kᵀ Q) · k_t, and with weights
    a_t, W_o Σ_t a_t V_t = W_o W_v Σ_t a_t k_t + W_o b_v Σ_t a_t. The products W_kᵀ W_q and W_o W_v are computed per head.

    Args:
        heads: number of heads, which must divide the width of the keys. The output has the same width.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> query, keys, mask = tf.ones([2, 4]), tf.ones([2, 5, 4]), tf.sequence_mask([5, 0], 5)
        >>> mal_tf.layers.MultiHeadTargetAttention(heads=2)((query, keys, mask)).shape
        TensorShape([2, 4])
    """

    def __init__(self, heads: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shapes):
        """See base class."""
        width = shapes[1][-1]
        if width % self.heads:
            raise MalTfError(
                f"{self.name}: embeddings of width {width} can't be split into {self.heads} heads; "
                "choose model.attention_heads so that it divides the width"
            )
        self._query, self._key, self._value, self.output_projection = (
            keras.layers.Dense(width, use_bias=name != "key", name=name) for name in ("query", "key", "value", "output")
        )
        self._query.build(shapes[0])
        for layer in (self._key, self._value, self.output_projection):
            layer.build([None, width])
        super().build(shapes)

    @property
    def projections(self) -> tuple[keras.layers.Dense, ...]:
        """Projections of query, key and value."""
        return self._query, self._key, self._value

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Attends over the history.

        Args:
            inputs: query float [batch, any], keys float [batch, time, dim], mask bool [batch, time] (False: padding).
                All queries attend over a single history if keys are [1, time, dim] and mask is [1, time].

        Returns:
            float [batch, dim].
        """
        query, keys, mask = inputs
        width = keys.shape[-1]
        cut = [-1, self.heads, width // self.heads]
        key, value = tf.reshape(self._key.kernel, cut), tf.reshape(self._value.kernel, cut)
        to_keys = tf.einsum("qhw,khw->qhk", tf.reshape(self._query.kernel, cut), key)
        bias = tf.einsum("qhw,khw->qhk", tf.reshape(self._query.bias, cut), key)
        folded = tf.matmul(query, _merged(to_keys)) + _merged(bias)
        scores = tf.matmul(tf.reshape(folded, [-1, self.heads, width]), keys, transpose_b=True) / cut[-1] ** 0.5
        mask = mask[:, tf.newaxis, :]
        weights = tf.nn.softmax(tf.where(mask, scores, scores.dtype.min)) * tf.cast(mask, scores.dtype)
        output = self.output_projection
        to_output = tf.einsum("khw,hwo->hko", value, tf.reshape(output.kernel, [*cut[1:], width]))
        attended = tf.matmul(_merged(tf.matmul(weights, keys)), tf.reshape(to_output, [-1, width]))
        constant = tf.matmul(self._value.bias[tf.newaxis], output.kernel)
        return attended + tf.cast(tf.reduce_any(mask, axis=-1), keys.dtype) * constant + output.bias

    def get_config(self):
        """See base class."""
        return super().get_config() | {"heads": self.heads}


def _merged(by_head: tf.Tensor) -> tf.Tensor:
    """[any, heads, dim] to [any, heads · dim]."""
    return tf.reshape(by_head, [-1, by_head.shape[1] * by_head.shape[2]])
