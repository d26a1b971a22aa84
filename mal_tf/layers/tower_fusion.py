"""Fusion of the auxiliary towers into the primary one, level by level."""

from typing import Any, cast

import numpy as np

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class TowerFusion(keras.layers.Layer):
    """One level of NATAL's fusion: relu(W [p; t_1; …; t_n] + b + p) (arXiv 2603.02184, as alimama-tech/PyMAL computes it).

    p is a layer of the primary tower before its ReLU, and t_i that layer of an auxiliary tower after its ReLU. p enters both
    the concatenation and the residual.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> primary, auxiliaries = tf.ones([2, 4]), [tf.ones([2, 4]), tf.ones([2, 4])]
        >>> mal_tf.layers.TowerFusion()((primary, auxiliaries)).shape
        TensorShape([2, 4])
    """

    #: See `KnowledgeFusion`.
    mixes_targets = True

    def build(self, shapes):
        """See base class."""
        shape, others = shapes if _nested(shapes) else (shapes, [])
        self._mix = keras.layers.Dense(shape[-1])
        self._mix.build([None, shape[-1] + sum(other[-1] for other in others)])
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, list[tf.Tensor]]) -> tf.Tensor:
        """Fuses a level of the towers.

        Args:
            inputs: p float [batch, dim], and t_1 … t_n, each float [batch, any].

        Returns:
            float [batch, dim].
        """
        primary, auxiliaries = cast(tuple, inputs) if _nested(inputs) else (inputs, [])
        # The residual p is also an input of W, so adding it equals adding the identity to W. (A sum between bias and ReLU
        # makes the graph optimiser of TensorFlow 2.16 fail on the whole model.) The identity is a constant, because other
        # runtimes lack the op of tf.eye.
        kernel = self._mix.kernel + tf.constant(np.eye(*self._mix.kernel.shape), primary.dtype)
        mixed = tf.matmul(tf.concat([primary, *auxiliaries], axis=-1), kernel)
        return tf.nn.relu(tf.nn.bias_add(mixed, self._mix.bias))


def _nested(inputs: Any) -> bool:
    """Whether inputs, or their shapes, are of a pair. Keras 2 loads a layer called on (p, []) as called on p alone, and since
    2.21 as built with the shape of a scalar beside p's.
    """
    return (
        isinstance(inputs, list | tuple) and len(inputs) == 2 and isinstance(inputs[1], list | tuple | tf.TensorShape)
    )
