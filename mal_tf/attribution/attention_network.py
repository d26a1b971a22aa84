"""The network of the `attention` mechanism and its training. Imports TensorFlow.

Sources: DNAMTA (arXiv 1809.02230), attention that decays with time; CAMTA (arXiv 2012.11403) and CausalMTA (arXiv
2201.00689), users as confounders and reweighted journeys. In their line, not their models: here one causal GRU, decays
by type, a pool that is a sum, and propensities of single touches by a linear model.
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

#: This share of the touches is shown to the training as of an unknown type, so that there is something to say of those.
_HIDDEN = 0.01


class Network:
    """Rate of conversion at a moment, given the touches before it and the user.

    x_i = E[type_i] + W·log(1 + gap_i); h_i = x_i + GRU(x_1 … x_i); a_i = σ(u·h_i + b)·exp(−λ[type_i]·age_i), λ > 0;
    pool = Σ_i a_i·h_i, a sum, so that a touch seen twice counts twice; logit = MLP([pool, E_1[user_1] … E_F[user_F]]).
    Up to a constant factor, exp(logit) is the rate (see `Moments`).

    Args:
        types: how many codes of types there are.
        columns: F, of confounders.
        buckets: values per confounder.
        units: width.
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
        # At first an effect is down to 1/e after a tenth of the horizon.
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
        """Mean over [R] rows of weight · log-loss."""
        logit = self.model([kind, age, user])[:, 0]
        return tf.reduce_mean(weight * tf.nn.sigmoid_cross_entropy_with_logits(label, logit))

    def logits(self, rows: Rows) -> np.ndarray:
        """Float64 [R]."""
        return self._logits(*self.inputs(rows)).numpy()[:, 0].astype(np.float64)

    def lifts(self, rows: Rows, reencode: bool) -> np.ndarray:
        """By which share the rate is higher with each touch than without it: 1 − rate without / rate, float64 [R, W].

        Args:
            rows: R rows of exactly W touches.
            reencode: whether a touch is taken from the journey (leave-one-out), or its term only from the pool: the
                other touches then stay as they were encoded, with it before them.
        """
        change = self._leave_one_out if reencode else self._attention
        return -np.expm1(change(*self.inputs(rows)).numpy().astype(np.float64))

    def inputs(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Types, ages and users as the model takes them."""
        return rows.types, rows.age.astype(self._dtype), rows.user

    def _without_touch(self, kind: tf.Tensor, age: tf.Tensor, user: tf.Tensor) -> tf.Tensor:
        """Logit without touch i − logit, [R, W]."""
        width = tf.shape(kind)[1]
        # Row 0 has all touches, row 1 + i those but i, padded behind.
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
    """How long and in what steps a network is trained.

    Attributes:
        epochs: how many passes over the sample.
        learning_rate: of Adam at first; falls to 0 along a cosine.
        batch_size: rows per step.
        seed: of the initial weights, the moments and the order.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int


def train(
    size: dict[str, Any], moments: Moments, held_out: np.ndarray, balanced: bool, schedule: Schedule
) -> tuple[list[np.ndarray], dict]:
    """Trains a network, with new moments in every epoch.

    Args:
        size: arguments of `Network`.
        moments: of the sample.
        held_out: bool [J], journeys to measure on.
        balanced: whether journeys weigh by inverse propensity in training.
        schedule: epochs, steps and seed.

    Returns:
        Weights, and a report: `loss` and `held_out_loss`, weighted log-losses by epoch, log 2 = 0.693 for a model that
        knows nothing; `held_out_auc`, weighted, of conversions against other moments. What is held out is not balanced;
        None where nothing is.

    Raises:
        MalTfError: a loss that is not finite.
    """
    keras.utils.set_random_seed(schedule.seed)
    tf.config.experimental.enable_op_determinism()
    network = Network(**size)
    even = np.zeros(moments.journeys.age.size)
    ratio = (
        log_ratios(moments, size["types"], size["buckets"], schedule.batch_size, schedule.seed) if balanced else even
    )
    training, measured = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    held, label, weight = moments.draw(measured, even, np.random.default_rng([schedule.seed, 0]))
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
        logits = network.logits(held)
        loss, held_out_loss = float(np.mean(losses)), _log_loss(label, logits, weight)
        if not np.isfinite(loss):
            raise MalTfError("attention: the training's loss is not finite; lower the mechanism's learning_rate")
        shown = "nothing" if held_out_loss is None else f"{held_out_loss:.4f}"
        log.info("attention: epoch %d of %d, loss %.4f, held out %s", epoch + 1, schedule.epochs, loss, shown)
        report["loss"].append(loss)
        report["held_out_loss"].append(held_out_loss)
    held_out_auc = weighted_auc(label, logits, weight)
    return network.model.get_weights(), report | {"held_out_auc": None if math.isnan(held_out_auc) else held_out_auc}


def log_ratios(moments: Moments, types: int, buckets: int, batch_size: int, seed: int) -> np.ndarray:
    """Stabilised inverse propensities of the sample's touches: log p(type) − log p(type | user), float64 [T].

    p(type | user) = softmax(b + Σ_f B_f[user_f]), fitted to the touches, each weighted to the shares of the classes in
    all journeys.

    Args:
        moments: of the sample.
        types: how many codes of types there are.
        buckets: values per confounder.
        batch_size: touches per step.
        seed: of their order.
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
    found = np.empty(kind.size)
    for batch in batches:
        found[batch] = surprise(user[batch], kind[batch]).numpy()
    return marginal[kind] + found


def _step(optimizer: keras.optimizers.Optimizer, variables: list[tf.Variable], loss: Callable) -> Callable:
    """One step of the optimiser as a function of a batch; returns the loss."""
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
