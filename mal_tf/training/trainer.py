"""Trainer with the training step: the loss of every head, and the combination of their gradients."""

import functools
from collections.abc import Sequence

import tensorflow_recommenders as tfrs

from features.keras2 import keras, tf
from mal_tf.models.config import CAT
from mal_tf.models.network import Head, Network
from mal_tf.training import delayed_feedback, gradients, losses, replicas
from mal_tf.training.config import TrainingConfig
from mal_tf.training.level import LABELS, PREDICTIONS


class Trainer(tfrs.models.Model):
    """A network with a ranking task per head.

    Total loss = loss of the primary head + Σ λ · loss of the others (MAL, arXiv 2508.15217), where λ is `auxiliary_weight`, or
    `cat_weight` for the CAT head.

    Args:
        network: model and heads.
        targets: mechanisms of the CAT class, in configured order.
        config: loss, λ and combination of gradients.
        seed: seed of the order of PCGrad's projections.
    """

    def __init__(self, network: Network, targets: Sequence[str], config: TrainingConfig, seed: int = 0):
        super().__init__()
        self.network = network.model
        self._heads, self._targets, self._config, self._seed = network.heads, tuple(targets), config, seed
        self._tasks = {
            head.output: tfrs.tasks.Ranking(loss=losses.cross_entropy(head.target == CAT, config.loss))
            for head in network.heads
        }
        self._below = self._above = None
        if config.xla:
            # Only the layers above the click's vector are compiled, because XLA does not support sparse gradients.
            self._below, above = network.split()
            self._above = tf.function(above, jit_compile=True)
        ends = {stack.embeddings.ref(): stack.ends for stack in network.stacks}
        self._ends = [ends.get(variable.ref()) for variable in self.network.trainable_variables]
        # The mean losses are over all replicas already, which Keras would add up by default.
        self.distribute_reduction_method = "first"
        self._means = {head.output: keras.metrics.Mean(name=f"loss_{head.output}") for head in network.heads}
        self._predictions, self._labels = keras.metrics.Sum(name=PREDICTIONS), keras.metrics.Sum(name=LABELS)

    @property
    def primary_loss_name(self) -> str:
        """Name of the primary head's loss among the metrics."""
        return self._means[self._heads[0].output].name

    @property
    def mean_losses(self) -> dict[str, float]:
        """Mean loss of each output over the steps so far."""
        return {output: float(mean.result()) for output, mean in self._means.items()}

    def head_losses(self, inputs: tuple[dict, dict], training: bool = False) -> list[tf.Tensor]:
        """Loss of each head on a batch, without λ. Updates the mean losses, and the sums behind PCOC.

        Args:
            inputs: rows by feature, and labels: float [batch] by target, and `mature`, int64 [batch]. Immature clicks have no
                weight, except in the heads of mechanisms with the labels that
                `mal_tf.training.delayed_feedback.DelayedFeedback` adds.
            training: whether BatchNorm uses the batch's moments and updates its own.
        """
        rows, labels = inputs
        labels = {name: tf.cast(values, keras.backend.floatx()) for name, values in labels.items()}
        logits = self._logits(rows, training)
        head_losses = []
        for head in self._heads:
            if head.target == CAT:
                target = losses.cat_class([labels[name] for name in self._targets])
                share, prediction = losses.share(labels["mature"]), logits[head.output]
            else:
                target, share = self._target_and_share(labels, head.target, logits[head.output])
                target, prediction = target[:, tf.newaxis], logits[head.output][:, tf.newaxis]
            loss = self._tasks[head.output](target, prediction, sample_weight=share, compute_metrics=False)
            # The loss is a sum over the replicas, the metric a mean over replicas and steps.
            self._means[head.output].update_state(loss * tf.distribute.get_strategy().num_replicas_in_sync)
            head_losses.append(loss)
        primary = self._heads[0]
        self._predictions.update_state(tf.sigmoid(logits[primary.output]), sample_weight=labels["mature"])
        self._labels.update_state(labels[primary.target], sample_weight=labels["mature"])
        return head_losses

    def _target_and_share(self, labels: dict, target: str, logit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Targets of a mechanism's head, and the share of each click in its mean loss: float [batch]."""
        label, weight = losses.target_and_weight(labels[target], self._config.loss)
        unknown = labels.get(delayed_feedback.unknown_key(target))
        if unknown is None:
            return label, losses.share(weight * labels["mature"])
        label, importance = delayed_feedback.reweighted(label, unknown, logit)
        # Importance weights are not part of the denominator of the mean, because that would bias the loss.
        return label, losses.share(weight * labels[delayed_feedback.COUNTS]) * importance

    def _logits(self, rows: dict[str, tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
        if self._below is None or self._above is None:
            return self.network(rows, training=training)
        return self._above(self._below(rows, training=training), training=training)

    def compute_loss(self, inputs: tuple[dict, dict], training: bool = False) -> tf.Tensor:
        """Total loss of a batch; arguments as in `head_losses`."""
        head_losses = self.head_losses(inputs, training)
        return tf.add_n([self._weight(head) * loss for head, loss in zip(self._heads, head_losses, strict=True)])

    def reset_metrics(self) -> None:
        """Does nothing, because a training is one pass, and a resumed training continues its mean losses."""

    def train_step(self, inputs: tuple[dict, dict]) -> dict:
        """One step of the optimiser, with the configured gradient."""
        variables, weights = self.network.trainable_variables, [self._weight(head) for head in self._heads]
        half = isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer)
        with tf.GradientTape(persistent=True) as tape:
            head_losses = self.head_losses(inputs, training=True)
            total = tf.add_n([weight * loss for weight, loss in zip(weights, head_losses, strict=True)])
            if self._config.gradients == "sum":
                parts = [total]
            elif self._config.gradient_variant == "published":
                parts = [weight * loss for weight, loss in zip(weights, head_losses, strict=True)]
            else:
                parts = head_losses  # PyMAL projects and weights the gradients without λ.
            if half:
                parts = [self.optimizer.get_scaled_loss(part) for part in parts]
        by_part = [tape.gradient(part, variables) for part in parts]
        del tape
        if half:
            by_part = [self.optimizer.get_unscaled_gradients(gradient) for gradient in by_part]
        summed = self._config.gradients == "sum"
        if not summed:
            by_part = [replicas.total(gradient) for gradient in by_part]
        combined = by_part[0] if summed else gradients.on_touched_rows(self._combination(), by_part, self._ends)
        self.optimizer.apply_gradients(zip(combined, variables, strict=True), experimental_aggregate_gradients=summed)
        return {metric.name: metric.result() for metric in self.metrics} | {"loss": total}

    def _weight(self, head: Head) -> float:
        if head.primary:
            return 1.0
        return self._config.cat_weight if head.target == CAT else self._config.auxiliary_weight

    def _combination(self):
        if self._config.gradient_variant == "pymal":
            return gradients.pcgrad_pymal if self._config.gradients == "pcgrad" else gradients.gcs_pymal
        if self._config.gradients == "gcs":
            return gradients.gcs
        count, step = len(self._heads), tf.cast(self.optimizer.iterations, tf.int32)
        orders = [
            tf.random.experimental.stateless_shuffle(tf.range(count), seed=[self._seed + i, step]) for i in range(count)
        ]
        return functools.partial(gradients.pcgrad, orders=tf.stack(orders))
