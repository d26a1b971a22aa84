"""SimTier, a histogram of the similarities between the clicked item and the items of the user's history."""

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class SimTier(keras.layers.Layer):
    """Histogram of similarities over equal tiers of [−1, 1], with log-counts that are scaled by a learnt value per tier.

    n_k = #{t: ⌊s_t · tiers / 2⌋ + tiers / 2 = k}, s_t clamped to [−0.999, 0.999]; output_k = log2(n_k + 1) · e_k
    (SimTier, arXiv 2407.19467; a number e_k per tier as in alimama-tech/PyMAL). NaN stands for a missing similarity and is
    not counted. No gradient reaches the similarities.

    Args:
        tiers: number of tiers, even.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> similarities = tf.constant([[0.9, -0.2, float('nan')]])
        >>> mal_tf.layers.SimTier(tiers=8)(similarities).shape
        TensorShape([1, 8])
    """

    def __init__(self, tiers: int = 32, **kwargs):
        super().__init__(autocast=False, **kwargs)  # Rounded to half precision, a similarity could change its tier.
        self.tiers = tiers

    def build(self, shape):
        """See base class."""
        # Small initial values as in PyMAL, so that at first the histogram has little weight beside the embeddings.
        initial = keras.initializers.RandomNormal(stddev=0.01)
        self._values = self.add_weight("values", [self.tiers], initializer=initial)
        super().build(shape)

    def call(self, similarities: tf.Tensor) -> tf.Tensor:
        """Float [batch, time] to float [batch, tiers]."""
        half = self.tiers // 2
        clamped = tf.clip_by_value(similarities, -0.999, 0.999)
        tier = tf.where(tf.math.is_nan(clamped), self.tiers, tf.cast(tf.floor(clamped * half), tf.int32) + half)
        # DenseBincount ignores tiers that are not below `size`, which is how NaN is left out.
        unweighted = tf.constant([], similarities.dtype)
        # TensorFlow's GPU kernel does not support the deterministic ops that training enables.
        with tf.device("CPU:0"):
            counts = tf.raw_ops.DenseBincount(input=tier, size=self.tiers, weights=unweighted, binary_output=False)
        logs = tf.math.log1p(counts) / tf.math.log(tf.constant(2, similarities.dtype))
        return tf.cast(tf.stop_gradient(logs), self.compute_dtype) * tf.cast(self._values, self.compute_dtype)

    def get_config(self):
        """See base class."""
        config = super().get_config() | {"tiers": self.tiers}
        config.pop("autocast", None)
        return config
