"""Optimisers: one for the embedding tables, one for the dense parts, both with linear warm-up."""

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
    # The default weight decay, 0, is a pass over the table that changes nothing.
    "clippy_adagrad": functools.partial(tfrs.experimental.optimizers.ClippyAdagrad, weight_decay=None),
}


#: β1 and β2 of `adam` and `lazy_adam`.
_BETAS = (0.9, 0.999)

#: Those that a TPU has for the tables it holds.
ON_TPU = ("adam", "lazy_adam", "adagrad", "sgd")
TPUOptimizer: TypeAlias = (
    tf.tpu.experimental.embedding.Adam | tf.tpu.experimental.embedding.Adagrad | tf.tpu.experimental.embedding.SGD
)


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


def build(
    network: Network, config: TrainingConfig, steps: int, of_tables: keras.optimizers.Optimizer | None = None
) -> keras.optimizers.legacy.Optimizer:
    """Makes the optimiser of a whole run of `steps` steps, its slots included, so that a checkpoint can fill them.

    With `float16` it scales the loss too. `of_tables` where the one of the tables (see there) is made already.
    """
    tables = network.embedding_variables
    is_table = {variable.ref() for variable in tables}
    dense = [variable for variable in network.model.trainable_variables if variable.ref() not in is_table]
    of_tables = of_tables or for_tables(config, steps)
    rate = _warmed_up(config.learning_rate, config, steps)
    of_dense = one(config.optimizer, config, rate, global_clipnorm=config.clip_norm)
    of_tables.build(tables)
    of_dense.build(dense)
    both = _Both([(of_tables, lambda: tables), (of_dense, lambda: dense)])
    return keras.mixed_precision.LossScaleOptimizer(both) if config.precision == "float16" else both


def for_tables(config: TrainingConfig, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimiser of the embedding tables for a whole run of `steps` steps."""
    return one(config.embedding_optimizer, config, _warmed_up(config.embedding_learning_rate, config, steps))


def for_tables_on_tpu(config: TrainingConfig, steps: int, step: tf.Variable) -> TPUOptimizer:
    """What a TPU moves the tables with that it holds: `for_tables` as near as it can come.

    `sgd` is the same. `adagrad` leaves out Keras' epsilon, 1e-7 beside a sum of squares of at least 0.1. `adam` and
    `lazy_adam` add epsilon before the bias correction, as Keras does, not after it (`mal_tf.training.adam`): a TPU's epsilon is
    fixed, and the correction is up to the learning rate (tensorflow/core/protobuf/tpu/optimization_parameters.proto).

    Args:
        config: its `embedding_optimizer` is of `ON_TPU`.
        steps: of the whole run.
        step: how many were done, int64; read in each step.
    """
    rate, kinds = _warmed_up(config.embedding_learning_rate, config, steps), tf.tpu.experimental.embedding

    def corrected() -> tf.Tensor:
        first, second = (bias_correction(beta, step) for beta in _BETAS)
        return rate(step) * tf.sqrt(second) / first

    if config.embedding_optimizer in ("adam", "lazy_adam"):
        lazy = config.embedding_optimizer == "lazy_adam"
        return kinds.Adam(corrected, *_BETAS, config.adam_epsilon, lazy_adam=lazy, sum_inside_sqrt=False)
    kind = {"adagrad": kinds.Adagrad, "sgd": kinds.SGD}[config.embedding_optimizer]
    return kind(lambda: rate(step))  # Both Adagrads begin with a sum of 0.1.


def _warmed_up(peak: float, config: TrainingConfig, steps: int) -> LinearWarmup:
    return LinearWarmup(peak, round(config.warmup_share * steps))


def one(name: str, config: TrainingConfig, rate: LinearWarmup, **options) -> keras.optimizers.Optimizer:
    """Makes the optimiser called `name` with the learning rate `rate`; `options` are Keras'."""
    if name in ("adam", "lazy_adam"):
        options |= {"epsilon": config.adam_epsilon, "beta_1": _BETAS[0], "beta_2": _BETAS[1]}
    return _OPTIMIZERS[name](rate, **options)
