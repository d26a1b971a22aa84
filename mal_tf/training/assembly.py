"""Assembly of a training: the network with its first weights, the compiled trainer, the weight averages."""

import contextlib
import dataclasses

from features.keras2 import keras, tf
from mal_tf.models.network import Network
from mal_tf.training import optimizers, prior, tpu, warm_start
from mal_tf.training.averaging import WeightAverages
from mal_tf.training.cluster import ALONE, Cluster
from mal_tf.training.precision import precision
from mal_tf.training.recipe import Recipe
from mal_tf.training.replicas import most_rows
from mal_tf.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Assembly:
    """A training that is ready for its first step.

    Attributes:
        network: with initial weights, prior biases, and what a warm start restored.
        trainer: compiled.
        trained: what the trainer moves: `network`, on a TPU its twin.
        averages: of the network's weights; None unless the recipe asks for them.
        prior: what heads begin at (`mal_tf.training.prior.kept`).
        restored: a warm start's report (`mal_tf.training.warm_start.take_over`); empty without one.
    """

    network: Network
    trainer: Trainer
    trained: Network | tpu.Twin
    averages: WeightAverages | None
    prior: dict
    restored: list[dict]

    def finish(self) -> None:
        """Gives the network its final weights: to be called after the last step."""
        if self.averages:
            self.averages.apply()
        if isinstance(self.trained, tpu.Twin):
            self.trained.hand_back()


def assemble(recipe: Recipe, steps: int | None = None, cluster: Cluster = ALONE) -> Assembly:
    """Builds the network and all that trains it, from the recipe's seed and with deterministic operations.

    Args:
        recipe: what to train. Heads start at the split's prior where its labels are counted.
        steps: of the whole training, for warm-up and averages; the recipe's by default.
        cluster: where it trains.

    Raises:
        MalTfError: the training to start from can't be read.
    """
    config, steps, on_tpu = recipe.training, steps or recipe.steps, cluster.name == "tpu"
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    with contextlib.nullcontext() if on_tpu else cluster.strategy.scope():
        with precision(config.precision):
            network = recipe.build()
        biases = prior.start(network, recipe.split.labels, recipe.model, config.loss, recipe.targets)
        restored = []
        if config.warm_start:
            earlier = warm_start.locate(config.warm_start, recipe.name)
            restored = warm_start.take_over(network, recipe.description, recipe.vocabularies, earlier)
        kept = prior.kept(network, biases)
    with cluster.strategy.scope():
        table_optimizer, trained = optimizers.for_tables(config, steps), network
        if on_tpu:
            on_device = optimizers.for_tables_on_tpu(config, steps, table_optimizer.iterations)
            rows = most_rows(config.batch_size, cluster.strategy.num_replicas_in_sync)
            with precision(config.precision):
                trained = tpu.twin(network, recipe.description, rows, on_device)
        trainer = Trainer(trained, recipe.targets, config, recipe.seed)
        trainer.compile(optimizer=optimizers.build(trained, config, steps, table_optimizer))
        averages = WeightAverages(network.model, config.averaging, steps) if config.averaging else None
        trainer.averages = averages.averages if averages else []
    return Assembly(network, trainer, trained, averages, kept, restored)
