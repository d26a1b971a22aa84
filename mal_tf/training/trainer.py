"""The training step: every head's loss in one weighted sum."""

from collections.abc import Sequence

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from mal_tf.models.network import CAT, Network
from mal_tf.training import losses
from mal_tf.training.config import TrainingConfig


class Trainer(tfrs.models.Model):
    """A network with a ranking task per head.

    Total loss = loss of the primary head + Σ λ · loss of the others (MAL, arXiv 2508.15217), λ being `auxiliary_weight`, for
    the CAT head `cat_weight`.

    Args:
        network: model and heads.
        targets: the mechanisms of the CAT class, in configured order.
        config: which loss, which λ.
    """

    def __init__(self, network: Network, targets: Sequence[str], config: TrainingConfig):
        super().__init__()
        self.network = network.model
        self._heads, self._targets, self._config = network.heads, tuple(targets), config
        self._tasks = {
            head.output: tfrs.tasks.Ranking(loss=losses.cross_entropy(head.target == CAT)) for head in network.heads
        }
        self._means = {head.output: keras.metrics.Mean(name=f"loss_{head.output}") for head in network.heads}

    def compute_loss(self, inputs: tuple[dict, dict], training: bool = False) -> tf.Tensor:
        """Total loss of a batch.

        Args:
            inputs: rows by feature; labels by target, float [batch], and `mature`, int64 [batch]: immature clicks have
                no weight.
            training: unused, there is no dropout.
        """
        rows, labels = inputs
        mature = tf.cast(labels["mature"], tf.float32)
        logits = self.network(rows, training=training)
        total = 0.0
        for head in self._heads:
            if head.target == CAT:
                target = losses.cat_class([labels[name] for name in self._targets])
                weight, scale = tf.ones_like(mature), self._config.cat_weight
            else:
                target, weight = losses.target_and_weight(labels[head.target], self._config.loss)
                target, scale = target[:, tf.newaxis], self._config.auxiliary_weight
            prediction = logits[head.output] if head.target == CAT else logits[head.output][:, tf.newaxis]
            share = losses.share(weight * mature)
            loss = self._tasks[head.output](target, prediction, sample_weight=share, compute_metrics=False)
            self._means[head.output].update_state(loss)
            total += loss if head.primary else scale * loss
        return total
