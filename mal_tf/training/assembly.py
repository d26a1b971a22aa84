"""Assembly of a training from its recipe: the network with initial weights, the compiled trainer, the weight averages."""

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
        network: network with initial weights, prior biases, and weights that a warm start restored.
        trainer: compiled trainer.
        trained: network that the trainer updates: `network`, or on a TPU its twin.
        averages: averages of the network's weights; None unless the recipe asks for them.
        prior: initial logits of the heads (`mal_tf.training.prior.kept`).
        restored: report of a warm start (`mal_tf.training.warm_start.take_over`); empty without one.
    """

    network: Network
    trainer: Trainer
    trained: Network | tpu.Twin
    averages: WeightAverages | None
    prior: dict
    restored: list[dict]

    def finish(self) -> None:
        """Gives the network its final weights. Call this after the last step."""
        if self.averages:
            self.averages.apply()
        if isinstance(self.trained, tpu.Twin):
            self.trained.hand_back()


def assemble(recipe: Recipe, steps: int | None = None, cluster: Cluster = ALONE) -> Assembly:
    """Builds the network and its trainer, with the recipe's seed and deterministic operations.

    Args:
        recipe: the training to assemble. Heads start at the prior of the split if its labels are counted.
        steps: steps of the whole training, for warm-up and averages; those of the recipe by default.
        cluster: where the training runs.

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
