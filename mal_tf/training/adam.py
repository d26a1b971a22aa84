"""Adam as in PyTorch, which updates an embedding table in one pass, or only the rows of the batch."""

import math
from collections.abc import Sequence

import numpy as np

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class Adam(keras.optimizers.Optimizer):
    """Adam (Kingma and Ba, 2015, arXiv 1412.6980) with epsilon added after the bias correction, as in PyTorch.

    m = β1 m + (1 − β1) g, v = β2 v + (1 − β2) g², x −= rate · m̂ / (√v̂ + epsilon), m̂ = m / (1 − β1^t), v̂ = v / (1 − β2^t).
    Keras adds epsilon to √v before the correction, where its effect is 1 / √(1 − β2^t) times as large, 32 times at the first
    step.

    Args:
        learning_rate: a number or a schedule.
        epsilon: see above.
        lazy: whether only the rows of an embedding table that occur in the batch are updated, including their m and v. The
            cost of a step then does not depend on the size of the table.
        beta_1: β1.
        beta_2: β2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        epsilon: float = 1e-8,
        lazy: bool = False,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        name: str = "Adam",
        **kwargs,
    ):
        # With Keras' default weight decay of 0, each step makes a useless pass over every variable.
        super().__init__(name=name, **{"jit_compile": False, "weight_decay": None} | kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.epsilon, self.lazy, self.beta_1, self.beta_2 = epsilon, lazy, beta_1, beta_2

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """See base class."""
        super().build(var_list)
        if getattr(self, "_moments", None) is None:
            self._moments = [
                [self.add_variable_from_reference(variable, name) for name in ("m", "v")] for variable in var_list
            ]

    def aggregate_gradients(self, grads_and_vars):
        """See base class. Unless `lazy`, gradients of tables become dense, so that repeated rows need not be merged."""
        aggregated = super().aggregate_gradients(grads_and_vars)
        return aggregated if self.lazy else [(_dense(gradient), variable) for gradient, variable in aggregated]

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """See base class."""
        m, v = self._moments[self._index_dict[self._var_key(variable)]]
        betas = [tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2)]
        # As published, x -= rate' m / (sqrt(v) + epsilon'), rate' = rate sqrt(1 - b2^t) / (1 - b1^t).
        root = tf.sqrt(bias_correction(self.beta_2, self.iterations))
        epsilon = tf.cast(self.epsilon * root, variable.dtype)
        rate = self.learning_rate * root / bias_correction(self.beta_1, self.iterations)
        rate = tf.cast(rate, variable.dtype)
        if self.lazy and isinstance(gradient, tf.IndexedSlices):
            rows, values = gradient.indices, gradient.values
            mean = betas[0] * tf.gather(m, rows) + (1 - betas[0]) * values
            square = betas[1] * tf.gather(v, rows) + (1 - betas[1]) * values * values
            m.scatter_update(tf.IndexedSlices(mean, rows))
            v.scatter_update(tf.IndexedSlices(square, rows))
            variable.scatter_sub(tf.IndexedSlices(rate * mean / (tf.sqrt(square) + epsilon), rows))
        else:
            zero = tf.zeros([], variable.dtype)  # `rate` contains the bias corrections already.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=zero,
                beta2_power=zero,
                lr=rate,
                beta1=betas[0],
                beta2=betas[1],
                epsilon=epsilon,
                grad=_dense(gradient),
            )

    def get_config(self) -> dict:
        """See base class."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        own = {"learning_rate": rate, "epsilon": self.epsilon, "lazy": self.lazy}
        return super().get_config() | own | {"beta_1": self.beta_1, "beta_2": self.beta_2}


def bias_correction(beta: float, steps: tf.Tensor) -> tf.Tensor:
    """Bias correction 1 − β^t of step t = `steps` + 1, to full float32 precision without float64, which TPUs lack.

    Args:
        beta: β, which is rounded to single precision as for the moments.
        steps: int64, number of earlier steps.
    """
    return -tf.math.expm1(tf.cast(steps + 1, tf.float32) * math.log(np.float32(beta)))


def _dense(gradient: tf.Tensor | tf.IndexedSlices | None) -> tf.Tensor | None:
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
