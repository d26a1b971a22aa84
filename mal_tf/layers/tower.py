"""MLP of a target's tower, and the fusion of the towers' knowledge vectors into the primary target."""

from collections.abc import Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class MLP(keras.layers.Layer):
    """Dense layers with ReLU: x → relu(W_n … relu(W_1 x + b_1) … + b_n).

    Args:
        units: width of each layer; if empty, the MLP is the identity.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> mal_tf.layers.MLP([16, 8])(tf.ones([2, 4])).shape
        TensorShape([2, 8])
    """

    def __init__(self, units: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._layers = [keras.layers.Dense(n, activation="relu") for n in self.units]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Float [batch, any] to float [batch, units[-1]]."""
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self):
        """See base class."""
        return super().get_config() | {"units": self.units}


@keras.utils.register_keras_serializable("mal_tf")
class KnowledgeFusion(keras.layers.Layer):
    """Adds the knowledge vectors of the towers to the primary target's vector: v = v_p + MLP(K).

    Source: MAL (arXiv 2508.15217), which follows KEEP (arXiv 2208.10174). The MLP ends in a linear layer of v_p's width.

    Args:
        units: widths of the hidden layers of the MLP.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> primary, knowledge = tf.ones([2, 4]), tf.ones([2, 3 * 8])
        >>> mal_tf.layers.KnowledgeFusion(units=[16])((primary, knowledge)).shape
        TensorShape([2, 4])
    """

    #: The weights are laid out by target, so that a warm start restores them only if the targets are the same.
    mixes_targets = True

    def __init__(self, units: Sequence[int] = (64,), **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self._hidden = MLP(self.units)

    def build(self, shapes):
        """See base class."""
        self._output = keras.layers.Dense(shapes[0][-1])
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Fuses the knowledge into the primary vector.

        Args:
            inputs: v_p float [batch, dim], and K, the concatenated knowledge vectors, float [batch, any].

        Returns:
            v, float [batch, dim].
        """
        primary, knowledge = inputs
        return primary + self._output(self._hidden(knowledge))

    def get_config(self):
        """See base class."""
        return super().get_config() | {"units": self.units}
