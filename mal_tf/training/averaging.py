"""Averages of the weights over the last steps of a training, which replace its final weights."""

from features.keras2 import keras, tf
from mal_tf.training.config import AveragingConfig


class WeightAverages(keras.callbacks.Callback):
    """Callback that averages each weight of a network over the steps of the last share of a training.

    average ← average + (weight − average) · max(1/n, 1 − decay) after the n-th of these steps. This is the mean of the weights
    until 1/n falls below 1 − decay, and an exponential moving average from then on. The first value has no special weight,
    and the initial weights have no influence. Moving moments of normalisations are averaged like weights.

    Example, two averaged steps of a weight that is 1, then 2:

        >>> import numpy as np
        >>> network = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> averages = WeightAverages(network, AveragingConfig(last_share=0.5), steps=4)
        >>> for step, weight in enumerate([8.0, 9.0, 1.0, 2.0], 1):
        ...     network.set_weights([np.array([[weight]])])
        ...     averages.update(step)
        >>> averages.apply()
        >>> float(network.get_weights()[0][0, 0])
        1.5

    Args:
        network: network whose weights are averaged. Create the callback in the scope of the strategy.
        config: which steps are averaged, and how.
        steps: number of steps of the whole training.

    Attributes:
        averages: variables of the averages, to be saved with a checkpoint.
        first: number of steps done before this process.
    """

    def __init__(self, network: keras.Model, config: AveragingConfig, steps: int):
        super().__init__()
        self._weights = [weight for weight in network.weights if weight.dtype.is_floating]
        self.averages = [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in self._weights]
        self._before = steps - max(round(config.last_share * steps), 1)
        self._least = 1 - config.decay if config.decay else 0.0
        self.first = 0

    def on_train_batch_end(self, batch, logs=None):
        """See base class."""
        self.update(self.first + batch + 1)

    def update(self, step: int) -> None:
        """Updates the averages with the weights after `step` steps."""
        if (number := step - self._before) > 0:
            self._update(tf.constant(max(1 / number, self._least), self._weights[0].dtype))

    @tf.function
    def _update(self, rate: tf.Tensor) -> None:
        for average, weight in zip(self.averages, self._weights, strict=True):
            average.assign_add((weight - average) * tf.cast(rate, weight.dtype))

    def apply(self) -> None:
        """Replaces the weights by their averages."""
        for average, weight in zip(self.averages, self._weights, strict=True):
            weight.assign(average)
