"""Network of the `attention` mechanism and its training, in TensorFlow.

Sources: DNAMTA (arXiv 1809.02230) for attention that decays with time; CAMTA (arXiv 2012.11403) and CausalMTA (arXiv
2201.00689) for user features as confounders and reweighted journeys. The model differs from theirs: it has one causal GRU,
decay rates by type, sum pooling, and propensities of single touches from a linear model.
"""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from features.errors import MalTfError
from features.keras2 import keras, tf
from mal_tf.attribution.attention_sample import PADDING, RESOLUTION, UNKNOWN, Moments, Rows
from mal_tf.evaluation.ranking import weighted_auc

log = logging.getLogger("mal_tf.attribution")

#: Width of a confounder's embedding.
_USER_UNITS = 4

#: Passes over the touches when their propensities are fitted.
_PROPENSITY_EPOCHS = 3

#: Share of the touches whose type is replaced by the unknown one in training, so that its embedding is trained.
_HIDDEN = 0.01


class Network:
    """Network for the conversion rate at a moment, given the touches before it and the user.

    x_i = E[type_i] + W·log(1 + gap_i); h_i = x_i + GRU(x_1 … x_i); a_i = σ(u·h_i + b)·exp(−λ[type_i]·age_i), λ > 0;
    pool = Σ_i a_i·h_i, a sum, so that a touch seen twice counts twice; logit = MLP([pool, E_1[user_1] … E_F[user_F]]).
    Up to a constant factor, exp(logit) is the rate (see `Moments`).

    Args:
        types: number of type codes.
        columns: number of confounders, F.
        buckets: hash buckets per confounder.
        units: width of the layers.
        dtype: float32 or float64.
    """

    def __init__(self, types: int, columns: int, buckets: int, units: int, dtype: str = "float32"):
        dense = functools.partial(keras.layers.Dense, dtype=dtype)
        embedding = functools.partial(keras.layers.Embedding, dtype=dtype)
        kind, age = keras.Input([None], dtype="int64"), keras.Input([None], dtype=dtype)
        gap = tf.pad(tf.maximum(age[:, :-1] - age[:, 1:], 0), [[0, 0], [1, 0]])
        gap = tf.math.log1p(gap / RESOLUTION) / math.log1p(1 / RESOLUTION)
        touch = embedding(types, units)(kind) + dense(units, use_bias=False)(gap[..., tf.newaxis])
        encoded = touch + keras.layers.GRU(units, return_sequences=True, dtype=dtype)(touch)
        # Initially an effect decays to 1/e within a tenth of the horizon.
        speed = embedding(types, 1, embeddings_initializer=keras.initializers.Constant(math.log(10)))(kind)
        attention = dense(1, activation="sigmoid")(encoded) * tf.exp(-tf.exp(speed) * age[..., tf.newaxis])
        terms = attention * tf.cast(kind != PADDING, dtype)[..., tf.newaxis] * encoded

        pool, user = keras.Input([units], dtype=dtype), keras.Input([columns], dtype="int64")
        users = [embedding(buckets, _USER_UNITS, embeddings_initializer="zeros")(user[:, i]) for i in range(columns)]
        hidden = dense(units, activation="relu")(tf.concat([pool, *users], axis=-1))
        head = keras.Model([pool, user], dense(1)(hidden))
        self.model = keras.Model([kind, age, user], head([tf.reduce_sum(terms, axis=1), user]))
        self._terms, self._head, self._dtype = keras.Model([kind, age], terms), head, dtype
        signature = [tf.TensorSpec([None, None], d) for d in ("int64", dtype, "int64")]
        self._logits = tf.function(lambda *inputs: self.model(list(inputs)), input_signature=signature)
        self._leave_one_out = tf.function(self._without_touch, input_signature=signature)
        self._attention = tf.function(self._without_term, input_signature=signature)

    def loss(self, kind: tf.Tensor, age: tf.Tensor, user: tf.Tensor, label: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """Mean of weight · log-loss over R rows."""
        logit = self.model([kind, age, user])[:, 0]
        return tf.reduce_mean(weight * tf.nn.sigmoid_cross_entropy_with_logits(label, logit))

    def logits(self, rows: Rows) -> np.ndarray:
        """Logits of the rows, float64 [R]."""
        return self._logits(*self.inputs(rows)).numpy()[:, 0].astype(np.float64)

    def lifts(self, rows: Rows, reencode: bool) -> np.ndarray:
        """Share of the rate that is lost without each touch: 1 − rate without / rate, float64 [R, W].

        Args:
            rows: R rows of exactly W touches.
            reencode: whether the touch is removed from the journey and the others are encoded anew (leave-one-out).
                Otherwise only its term is removed from the pool, and the encodings of the others stay as they were.
        """
        change = self._leave_one_out if reencode else self._attention
        return -np.expm1(change(*self.inputs(rows)).numpy().astype(np.float64))

    def inputs(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Types, ages and users in the form of the model's inputs."""
        return rows.types, rows.age.astype(self._dtype), rows.user

    def _without_touch(self, kind: tf.Tensor, age: tf.Tensor, user: tf.Tensor) -> tf.Tensor:
        """Logit without touch i − logit, [R, W]."""
        width = tf.shape(kind)[1]
        # Row 0 has all touches, row 1 + i all but touch i, padded at the end.
        place = tf.range(width) + tf.cast(tf.range(width)[:, tf.newaxis] <= tf.range(width), tf.int32)
        place = tf.concat([tf.range(width)[tf.newaxis], place], axis=0)
        kind = tf.gather(tf.pad(kind, [[0, 0], [0, 1]], constant_values=PADDING), place, axis=1)
        age = tf.gather(tf.pad(age, [[0, 0], [0, 1]]), place, axis=1)
        user = tf.repeat(user, width + 1, axis=0)
        logit = self.model([tf.reshape(kind, [-1, width]), tf.reshape(age, [-1, width]), user])
        logit = tf.reshape(logit, [-1, width + 1])
        return logit[:, 1:] - logit[:, :1]

    def _without_term(self, kind: tf.Tensor, age: tf.Tensor, user: tf.Tensor) -> tf.Tensor:
        """Logit of the pool without touch i's term − logit, [R, W]."""
        terms, width = self._terms([kind, age]), tf.shape(kind)[1]
        pool = tf.reduce_sum(terms, axis=1, keepdims=True)
        pools = tf.reshape(tf.concat([pool, pool - terms], axis=1), [-1, terms.shape[2]])
        logit = tf.reshape(self._head([pools, tf.repeat(user, width + 1, axis=0)]), [-1, width + 1])
        return logit[:, 1:] - logit[:, :1]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Schedule of the training of a network.

    Attributes:
        epochs: number of passes over the sample.
        learning_rate: initial learning rate of Adam, which decays to 0 along a cosine.
        batch_size: rows per step.
        seed: seed of the initial weights, the moments and their order.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int


def train(
    size: dict[str, Any], moments: Moments, held_out: np.ndarray, balanced: bool, schedule: Schedule
) -> tuple[list[np.ndarray], dict]:
    """Trains a network, drawing new moments in every epoch.

    Args:
        size: arguments of `Network`.
        moments: moments of the sample.
        held_out: bool [J], journeys to measure on.
        balanced: whether training journeys are weighted by inverse propensity.
        schedule: epochs, steps and seed.

    Returns:
        The weights, and a report: `loss` and `held_out_loss`, weighted log-losses by epoch, log 2 = 0.693 for a constant
        prediction; `held_out_auc`, the weighted AUC of conversions against other moments. Held-out journeys are not
        weighted by propensity; without any, their values are None.

    Raises:
        MalTfError: the loss is not finite.
    """
    keras.utils.set_random_seed(schedule.seed)
    tf.config.experimental.enable_op_determinism()
    network = Network(**size)
    unweighted = np.zeros(moments.journeys.age.size)
    ratio = (
        log_ratios(moments, size["types"], size["buckets"], schedule.batch_size, schedule.seed)
        if balanced
        else unweighted
    )
    training, random = np.flatnonzero(~held_out), np.random.default_rng([schedule.seed, 0])
    held_out_rows, label, weight = moments.draw(np.flatnonzero(held_out), unweighted, random)
    steps = math.ceil((training.size + moments.converted[training].sum()) / schedule.batch_size)
    decay = keras.optimizers.schedules.CosineDecay(schedule.learning_rate, schedule.epochs * steps)
    step = _step(keras.optimizers.Adam(decay), network.model.trainable_variables, network.loss)
    report: dict[str, list] = {"loss": [], "held_out_loss": []}
    for epoch in range(schedule.epochs):
        random = np.random.default_rng([schedule.seed, 1 + epoch])
        rows, converted, share = moments.draw(training, ratio, random)
        hidden = (rows.types != PADDING) & (random.random(rows.types.shape) < _HIDDEN)
        rows = dataclasses.replace(rows, types=np.where(hidden, UNKNOWN, rows.types))
        batches = np.array_split(random.permutation(converted.size), steps)
        losses = [step(*network.inputs(rows.take(b)), _float(converted[b]), _float(share[b])).numpy() for b in batches]
        logits = network.logits(held_out_rows)
        loss, held_out_loss = float(np.mean(losses)), _log_loss(label, logits, weight)
        if not np.isfinite(loss):
            raise MalTfError("attention: the training's loss is not finite; lower the mechanism's learning_rate")
        shown = "none" if held_out_loss is None else f"{held_out_loss:.4f}"
        log.info("attention: epoch %d of %d, loss %.4f, held-out loss %s", epoch + 1, schedule.epochs, loss, shown)
        report["loss"].append(loss)
        report["held_out_loss"].append(held_out_loss)
    held_out_auc = weighted_auc(label, logits, weight)
    return network.model.get_weights(), report | {"held_out_auc": None if math.isnan(held_out_auc) else held_out_auc}


def log_ratios(moments: Moments, types: int, buckets: int, batch_size: int, seed: int) -> np.ndarray:
    """Logarithms of stabilised inverse propensities of the sample's touches: log p(type) − log p(type | user), float64 [T].

    p(type | user) = softmax(b + Σ_f B_f[user_f]) is fitted to the touches, weighted so that both classes have the shares
    that they have among all journeys.

    Args:
        moments: moments of the sample.
        types: number of type codes.
        buckets: hash buckets per confounder.
        batch_size: touches per step.
        seed: seed of the order of the touches.
    """
    user, kind = moments.user[moments.journeys.owner], moments.journeys.touchpoint
    weight = moments.scale[moments.journeys.owner]
    weight = weight / weight.mean()
    marginal = np.log(np.maximum(np.bincount(kind, weight, types) / kind.size, 1e-9))
    tables = tf.Variable(tf.zeros([user.shape[1], buckets, types]))

    def surprise(user: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
        logits = tf.reduce_sum(tf.gather(tables, tf.transpose(user), batch_dims=1), axis=0)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(kind, logits + _float(marginal))

    step = _step(
        keras.optimizers.Adam(0.05), [tables], lambda user, kind, weight: tf.reduce_mean(weight * surprise(user, kind))
    )
    batches = np.array_split(np.random.default_rng(seed).permutation(kind.size), math.ceil(kind.size / batch_size))
    for batch in batches * _PROPENSITY_EPOCHS:
        step(user[batch], kind[batch], _float(weight[batch]))
    surprises = np.empty(kind.size)
    for batch in batches:
        surprises[batch] = surprise(user[batch], kind[batch]).numpy()
    return marginal[kind] + surprises


def _step(optimizer: keras.optimizers.Optimizer, variables: list[tf.Variable], loss: Callable) -> Callable:
    """Function that takes one optimiser step on a batch and returns the loss."""
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(*batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(*batch)
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    return lambda *batch: step(*map(tf.constant, batch))


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)


def _log_loss(label: np.ndarray, logit: np.ndarray, weight: np.ndarray) -> float | None:
    """Weighted log-loss; None without rows."""
    return float(np.mean(weight * np.logaddexp(0, np.where(label, -logit, logit)))) if label.size else None
