"""SimTier: how similar the clicked thing is to what the user saw before, as a histogram."""

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class SimTier(keras.layers.Layer):
    """Histogram of similarities over equal tiers of [−1, 1], its log-counts times a learnt value per tier.

    n_k = #{t: ⌊s_t · tiers / 2⌋ + tiers / 2 = k}, s_t clamped to [−0.999, 0.999]; output_k = log2(n_k + 1) · e_k
    (SimTier, arXiv 2407.19467; a number e_k per tier as in alimama-tech/PyMAL). NaN is no similarity and counts nowhere.
    No gradient reaches the similarities.

    Args:
        tiers: how many; even.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> similarities = tf.constant([[0.9, -0.2, float('nan')]])
        >>> mal_tf.layers.SimTier(tiers=8)(similarities).shape
        TensorShape([1, 8])
    """

    def __init__(self, tiers: int = 32, **kwargs):
        super().__init__(autocast=False, **kwargs)  # In half precision a similarity could change its tier.
        self.tiers = tiers

    def build(self, shape):
        """See base class."""
        # As small as PyMAL begins: the histogram comes in slowly beside the embeddings.
        initial = keras.initializers.RandomNormal(stddev=0.01)
        self._values = self.add_weight("values", [self.tiers], initializer=initial)
        super().build(shape)

    def call(self, similarities: tf.Tensor) -> tf.Tensor:
        """Float [batch, time] to float [batch, tiers]."""
        half = self.tiers // 2
        clamped = tf.clip_by_value(similarities, -0.999, 0.999)
        tier = tf.where(tf.math.is_nan(clamped), self.tiers, tf.cast(tf.floor(clamped * half), tf.int32) + half)
        # Tiers that are not below `size` are left out.
        none = tf.constant([], similarities.dtype)
        with tf.device("CPU:0"):  # TensorFlow's GPU kernel refuses to run with deterministic ops, as training does.
            hits = tf.raw_ops.DenseBincount(input=tier, size=self.tiers, weights=none, binary_output=False)
        logs = tf.math.log1p(hits) / tf.math.log(tf.constant(2, similarities.dtype))
        return tf.cast(tf.stop_gradient(logs), self.compute_dtype) * tf.cast(self._values, self.compute_dtype)

    def get_config(self):
        """See base class."""
        config = super().get_config() | {"tiers": self.tiers}
        config.pop("autocast", None)
        return config
