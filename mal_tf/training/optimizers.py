"""Optimisers: one for the embedding tables, one for the dense parts, both with linear warm-up."""

import functools

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from mal_tf.models.network import Network
from mal_tf.training.adam import Adam
from mal_tf.training.config import TrainingConfig
from mal_tf.training.sgd import SGD

_OPTIMIZERS = {
    "adam": Adam,
    "lazy_adam": functools.partial(Adam, lazy=True),
    "adagrad": keras.optimizers.Adagrad,
    "sgd": SGD,
    # The default weight decay, 0, is a pass over the table that changes nothing.
    "clippy_adagrad": functools.partial(tfrs.experimental.optimizers.ClippyAdagrad, weight_decay=None),
}


class _Both(tfrs.experimental.optimizers.CompositeOptimizer):
    """Gives an operation back, as optimisers do: Keras' loss scaling puts it in a branch beside another one."""

    def apply_gradients(self, grads_and_vars, name=None, experimental_aggregate_gradients=True):
        """See base class."""
        super().apply_gradients(grads_and_vars, name, experimental_aggregate_gradients)
        return self.iterations.assign_add(0, read_value=False)


@keras.utils.register_keras_serializable("mal_tf")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """rate(step) = peak · min(1, (step + 1) / steps).

    Args:
        peak: learning rate after the warm-up.
        steps: length of the warm-up; 0 for none.
    """

    def __init__(self, peak: float, steps: int):
        self.peak, self.steps = peak, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Learning rate at `step`."""
        return self.peak * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / max(self.steps, 1))

    def get_config(self) -> dict:
        """See base class."""
        return {"peak": self.peak, "steps": self.steps}


def build(network: Network, config: TrainingConfig, steps: int) -> keras.optimizers.legacy.Optimizer:
    """Makes the optimiser of a whole run of `steps` steps, its slots included, so that a checkpoint can fill them.

    With `float16` it scales the loss too.
    """
    warmup = round(config.warmup_share * steps)
    tables = network.embedding_variables
    is_table = {variable.ref() for variable in tables}
    dense = [variable for variable in network.model.trainable_variables if variable.ref() not in is_table]
    of_tables = one(config.embedding_optimizer, config, LinearWarmup(config.embedding_learning_rate, warmup))
    of_dense = one(
        config.optimizer, config, LinearWarmup(config.learning_rate, warmup), global_clipnorm=config.clip_norm
    )
    of_tables.build(tables)
    of_dense.build(dense)
    both = _Both([(of_tables, lambda: tables), (of_dense, lambda: dense)])
    return keras.mixed_precision.LossScaleOptimizer(both) if config.precision == "float16" else both


def one(name: str, config: TrainingConfig, rate: LinearWarmup, **options) -> keras.optimizers.Optimizer:
    """Makes the optimiser called `name` with the learning rate `rate`; `options` are Keras'."""
    if name in ("adam", "lazy_adam"):
        options["epsilon"] = config.adam_epsilon
    return _OPTIMIZERS[name](rate, **options)
