"""Optimisers of a training: one for the embedding tables and one for the dense layers, both with linear warm-up."""

import functools
from typing import TypeAlias

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from mal_tf.models.network import Network
from mal_tf.training.adam import Adam, bias_correction
from mal_tf.training.config import TrainingConfig
from mal_tf.training.sgd import SGD

_OPTIMIZERS = {
    "adam": Adam,
    "lazy_adam": functools.partial(Adam, lazy=True),
    "adagrad": keras.optimizers.Adagrad,
    "sgd": SGD,
    # With the default weight decay of 0, each step makes a useless pass over the table.
    "clippy_adagrad": functools.partial(tfrs.experimental.optimizers.ClippyAdagrad, weight_decay=None),
}


#: β1 and β2 of `adam` and `lazy_adam`.
_BETAS = (0.9, 0.999)

#: Optimisers that TPUs support for the embedding tables that they hold.
ON_TPU = ("adam", "lazy_adam", "adagrad", "sgd")
TPUOptimizer: TypeAlias = (
    tf.tpu.experimental.embedding.Adam | tf.tpu.experimental.embedding.Adagrad | tf.tpu.experimental.embedding.SGD
)


class _Composite(tfrs.experimental.optimizers.CompositeOptimizer):
    """Composite optimiser whose `apply_gradients` returns an operation, which Keras' loss scaling requires."""

    def apply_gradients(self, grads_and_vars, name=None, experimental_aggregate_gradients=True):
        """See base class."""
        super().apply_gradients(grads_and_vars, name, experimental_aggregate_gradients)
        return self.iterations.assign_add(0, read_value=False)


@keras.utils.register_keras_serializable("mal_tf")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate with linear warm-up: rate(step) = peak · min(1, (step + 1) / steps).

    Args:
        peak: learning rate after the warm-up.
        steps: number of steps of the warm-up; 0 for none.
    """

    def __init__(self, peak: float, steps: int):
        self.peak, self.steps = peak, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Learning rate at `step`."""
        return self.peak * tf.minimum(1.0, (tf.cast(step, tf.float32) + 1) / max(self.steps, 1))

    def get_config(self) -> dict:
        """See base class."""
        return {"peak": self.peak, "steps": self.steps}


def build(
    network: Network, config: TrainingConfig, steps: int, table_optimizer: keras.optimizers.Optimizer | None = None
) -> keras.optimizers.legacy.Optimizer:
    """Creates the optimiser of a training, including its slot variables, so that a checkpoint can restore them.

    With precision `float16` it scales the loss as well.

    Args:
        network: network whose variables are updated.
        config: optimisers, learning rates and precision.
        steps: number of steps of the whole training.
        table_optimizer: optimiser of the embedding tables; `for_tables` by default.
    """
    tables = network.embedding_variables
    is_table = {variable.ref() for variable in tables}
    dense = [variable for variable in network.model.trainable_variables if variable.ref() not in is_table]
    table_optimizer = table_optimizer or for_tables(config, steps)
    rate = _warmed_up(config.learning_rate, config, steps)
    dense_optimizer = one(config.optimizer, config, rate, global_clipnorm=config.clip_norm)
    table_optimizer.build(tables)
    dense_optimizer.build(dense)
    composite = _Composite([(table_optimizer, lambda: tables), (dense_optimizer, lambda: dense)])
    return keras.mixed_precision.LossScaleOptimizer(composite) if config.precision == "float16" else composite


def for_tables(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """Creates the optimiser of the embedding tables for a training of `steps` steps."""
    return one(config.embedding_optimizer, config, _warmed_up(config.embedding_learning_rate, config, steps))


def for_tables_on_tpu(config: TrainingConfig, steps: int, step: tf.Variable) -> TPUOptimizer:
    """Creates the optimiser of the embedding tables that a TPU holds, as close to `for_tables` as TPUs support.

    `sgd` is identical. `adagrad` lacks Keras' epsilon, which is 1e-7 beside a sum of squares of at least 0.1. `adam` and
    `lazy_adam` add epsilon before the bias correction, like Keras, and not after it (`mal_tf.training.adam`), because the
    epsilon of a TPU is fixed and the correction is part of the learning rate
    (tensorflow/core/protobuf/tpu/optimization_parameters.proto).

    Args:
        config: configuration whose `embedding_optimizer` is in `ON_TPU`.
        steps: number of steps of the whole training.
        step: int64 variable with the number of steps done, which is read in each step.
    """
    rate, kinds = _warmed_up(config.embedding_learning_rate, config, steps), tf.tpu.experimental.embedding

    def corrected() -> tf.Tensor:
        first, second = (bias_correction(beta, step) for beta in _BETAS)
        return rate(step) * tf.sqrt(second) / first

    if config.embedding_optimizer in ("adam", "lazy_adam"):
        lazy = config.embedding_optimizer == "lazy_adam"
        return kinds.Adam(corrected, *_BETAS, config.adam_epsilon, lazy_adam=lazy, sum_inside_sqrt=False)
    kind = {"adagrad": kinds.Adagrad, "sgd": kinds.SGD}[config.embedding_optimizer]
    return kind(lambda: rate(step))  # Both implementations of Adagrad start with a sum of 0.1.


def _warmed_up(peak: float, config: TrainingConfig, steps: int) -> LinearWarmup:
    return LinearWarmup(peak, round(config.warmup_share * steps))


def one(name: str, config: TrainingConfig, rate: LinearWarmup, **options) -> keras.optimizers.Optimizer:
    """Creates an optimiser by its name in `TrainingConfig`. `options` are further arguments of the Keras class."""
    if name in ("adam", "lazy_adam"):
        options |= {"epsilon": config.adam_epsilon, "beta_1": _BETAS[0], "beta_2": _BETAS[1]}
    return _OPTIMIZERS[name](rate, **options)
