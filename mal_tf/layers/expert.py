"""Experts, the sub-networks of mixture-of-experts models."""

from collections.abc import Sequence

from features.keras2 import keras, tf
from mal_tf.layers.senet import SqueezeExcitation

#: Momentum of BatchNorm's moving moments. With Keras' default of 0.99 they are still dominated by their initial values after
#: the few hundred steps of a single pass over small data.
_MOMENTUM = 0.9


@keras.utils.register_keras_serializable("mal_tf")
class Expert(keras.layers.Layer):
    """Expert made of dense layers, plain or normalized.

    Plain (MMoE, PLE): relu(W_n … relu(W_1 x + b_1) … + b_n).
    Normalized (HoME, arXiv 2408.05430): Swish(BatchNorm(W_n … relu(W_1 x + b_1) … + b_n)). All experts have the same scale
    and no dead units, so that the gates don't collapse onto one of them. With several replicas, the moments are those of the
    whole batch.

    Args:
        units: width of each layer; if empty, the expert is the identity, or the normalisation alone.
        normalized: whether the expert is normalized.
        senet_width: chunk width of a `SqueezeExcitation` before the first layer; None for no such layer.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> mal_tf.layers.Expert([16, 8])(tf.ones([2, 4])).shape
        TensorShape([2, 8])
    """

    def __init__(self, units: Sequence[int], normalized: bool = False, senet_width: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.normalized, self.senet_width = tuple(units), normalized, senet_width
        layers = [SqueezeExcitation(senet_width)] if senet_width else []
        last = None if normalized else "relu"
        for number, n in enumerate(self.units, 1):
            layers.append(keras.layers.Dense(n, activation=last if number == len(self.units) else "relu"))
        if normalized:
            layers += [
                keras.layers.BatchNormalization(momentum=_MOMENTUM, synchronized=True),
                keras.layers.Activation("swish"),
            ]
        self._layers = layers

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Float [batch, any] to float [batch, units[-1]]."""
        for layer in self._layers:
            takes_training = isinstance(layer, keras.layers.BatchNormalization)
            inputs = layer(inputs, training=training) if takes_training else layer(inputs)
        return inputs

    def get_config(self):
        """See base class."""
        own = {"units": self.units, "normalized": self.normalized, "senet_width": self.senet_width}
        return super().get_config() | own
