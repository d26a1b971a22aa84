"""Gates that mix the outputs of experts."""

from features.keras2 import keras, tf


def _mix(weights: tf.Tensor, experts: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([weights[:, i : i + 1] * expert for i, expert in enumerate(experts)])


@keras.utils.register_keras_serializable("mal_tf")
class Gate(keras.layers.Layer):
    """Mixture of experts, Σ_e g_e · expert_e with g = softmax(W x + b) (MMoE: Ma et al., KDD '18, 10.1145/3219819.3220007).

    Args:
        mixes_targets: whether each target has experts among those mixed. A warm start then restores the weights only if the
            targets are the same.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> experts = [tf.zeros([2, 8]), tf.ones([2, 8])]
        >>> mal_tf.layers.Gate()((tf.ones([2, 4]), experts)).shape
        TensorShape([2, 8])
    """

    def __init__(self, mixes_targets: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.mixes_targets = mixes_targets

    def build(self, shapes):
        """See base class."""
        self._logits = keras.layers.Dense(len(shapes[1]))
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, list[tf.Tensor]]) -> tf.Tensor:
        """Mixes the experts.

        Args:
            inputs: x float [batch, any], and the outputs of the experts, each float [batch, width].

        Returns:
            float [batch, width].
        """
        x, experts = inputs
        return _mix(tf.nn.softmax(self._logits(x)), experts)

    def get_config(self):
        """See base class."""
        return super().get_config() | {"mixes_targets": self.mixes_targets}


@keras.utils.register_keras_serializable("mal_tf")
class SelfGate(Gate):
    """HoME's self gate (arXiv 2408.05430), which weights a branch's own experts before they are added to its mixture.

    For a single expert, the output is σ(w · x + b) · expert; for several, that of `Gate`.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> mal_tf.layers.SelfGate()((tf.ones([2, 4]), [tf.ones([2, 8])])).shape
        TensorShape([2, 8])
    """

    def call(self, inputs: tuple[tf.Tensor, list[tf.Tensor]]) -> tf.Tensor:
        """Weights the experts; arguments as in `Gate.call`."""
        x, experts = inputs
        logits = self._logits(x)
        return _mix(tf.sigmoid(logits) if len(experts) == 1 else tf.nn.softmax(logits), experts)
