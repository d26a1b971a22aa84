"""Fusion of the auxiliary towers into the primary one, level by level."""

import numpy as np

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class TowerFusion(keras.layers.Layer):
    """One level of NATAL: relu(W [p; t_1; …; t_n] + b + p) (arXiv 2603.02184, as alimama-tech/PyMAL computes it).

    p is the primary tower's layer before its ReLU, t_i an auxiliary tower's after it. p is there twice: in the
    concatenation and as the residual.

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
        self._mix = keras.layers.Dense(shapes[0][-1])
        self._mix.build([None, shapes[0][-1] + sum(shape[-1] for shape in shapes[1])])
        super().build(shapes)

    def call(self, inputs: tuple[tf.Tensor, list[tf.Tensor]]) -> tf.Tensor:
        """Fuses.

        Args:
            inputs: p float [batch, dim]; t_1 … t_n, each float [batch, any].

        Returns:
            float [batch, dim].
        """
        primary, auxiliaries = inputs
        # p is among what W mixes: as a residual it adds the identity to W. (A sum between bias and ReLU makes
        # TensorFlow 2.16's graph optimiser give up on the whole model.) A constant: other runtimes have no op for tf.eye's.
        kernel = self._mix.kernel + tf.constant(np.eye(*self._mix.kernel.shape), primary.dtype)
        mixed = tf.matmul(tf.concat([primary, *auxiliaries], axis=-1), kernel)
        return tf.nn.relu(tf.nn.bias_add(mixed, self._mix.bias))
