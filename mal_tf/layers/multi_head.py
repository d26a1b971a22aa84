"""Multi-head target attention: the click asks its user's past several questions at once."""

from features.errors import MalTfError
from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class MultiHeadTargetAttention(keras.layers.Layer):
    """Scaled dot-product attention of a single query over a history.

    Q = W_q q + b_q, K_t = W_k k_t + b_k, V_t = W_v k_t + b_v, each cut into `heads` parts of width w; per head
    o = Σ_t softmax_t(Q · K_t / √w) V_t; output = W_o [o_1; …; o_heads] + b_o (Vaswani et al., 2017, arXiv 1706.03762).
    Masked positions have no weight; where all are masked, o = 0.

    Args:
        heads: how many; divides the keys' width, which is the output's too.
    """

    def __init__(self, heads: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, shapes):
        """See base class."""
        width = shapes[1][-1]
        if width % self.heads:
            raise MalTfError(
                f"{self.name}: embeddings of width {width} can't be cut into {self.heads} heads; "
                "choose model.attention_heads so that it divides the width"
            )
        self._query, self._key, self._value, self.output_projection = (keras.layers.Dense(width) for _ in range(4))
        super().build(shapes)

    @property
    def projections(self) -> tuple[keras.layers.Dense, ...]:
        """Of query, key and value."""
        return self._query, self._key, self._value

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
            inputs: query float [batch, any], keys float [batch, time, dim], mask bool [batch, time] (False: padding).

        Returns:
            float [batch, dim].
        """
        query, keys, mask = inputs
        time, width = keys.shape[1:]
        split = [self.heads, width // self.heads]
        q = tf.reshape(self._query(query), [-1, *split])
        k = tf.reshape(self._key(keys), [-1, time, *split])
        v = tf.reshape(self._value(keys), [-1, time, *split])
        mask = mask[:, tf.newaxis, :]
        scores = tf.einsum("bhw,bthw->bht", q, k) / split[1] ** 0.5
        weights = tf.nn.softmax(tf.where(mask, scores, scores.dtype.min)) * tf.cast(mask, scores.dtype)
        return self.output_projection(tf.reshape(tf.einsum("bht,bthw->bhw", weights, v), [-1, width]))

    def get_config(self):
        """See base class."""
        return super().get_config() | {"heads": self.heads}
