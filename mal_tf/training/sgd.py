"""Stochastic gradient descent without slot variables, which updates only the rows of the batch in embedding tables."""

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class SGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent: x −= rate · g.

    Keras' SGD has a momentum slot even if momentum is 0, and makes a pass over slot and table in each step.

    Args:
        learning_rate: a number or a schedule.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-2,
        name: str = "SGD",
        **kwargs,
    ):
        super().__init__(name=name, **{"jit_compile": False, "weight_decay": None} | kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """See base class."""
        rate = tf.cast(self.learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            variable.scatter_sub(tf.IndexedSlices(rate * gradient.values, gradient.indices))
        else:
            variable.assign_sub(rate * gradient)

    def get_config(self) -> dict:
        """See base class."""
        return super().get_config() | {"learning_rate": self._serialize_hyperparameter(self._learning_rate)}
