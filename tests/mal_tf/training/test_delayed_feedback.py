"""Weights that make the copies of a click, as known early and as final, train like the final label alone."""

import datetime

import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.config import TrainingConfig
from mal_tf.training.delayed_feedback import COUNTS, AsFinal, DelayCurve, DelayedFeedback, reweighted, waits
from mal_tf.training.trainer import Trainer
from tests.mal_tf.training import small
from tests.support.models import LABELS, ROWS, build, network_targets

#: Of one mechanism, 1 of 4 credits known for clicks before 1 o'clock, all for those from 23 o'clock on.
CURVE = DelayCurve(known={"last": [1.0, *[0.0] * 22, 4.0]}, final={"last": [4.0, *[0.0] * 22, 4.0]})

DAYS = [datetime.date(1970, 1, day) for day in (1, 2, 3)]


def test_weights_by_hand():
    # f = 0.2, d = 1/2: w⁺ = 1 / (3/4), w⁻ = 0.8 / (0.8 + 0.2/4) = 16/17.
    logit = tf.constant(np.log([0.25] * 4))
    label, unknown = tf.constant([[1, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0]], tf.float64)
    target, weight = reweighted(label, unknown, logit)
    positive, negative = [4 / 3, 0, 2 / 3, 0.5], [0, 16 / 17, 8 / 17, 0.5]
    np.testing.assert_allclose(target * weight, positive, rtol=1e-7)
    np.testing.assert_allclose((1 - target) * weight, negative, rtol=1e-7)


def test_extreme_logits_are_finite():
    for unknown in (0.0, 1.0):
        label, logit = tf.constant([0.0, 0.0, 1.0, 1.0]), tf.constant([300.0, -300.0, 300.0, -300.0])
        target, weight = reweighted(label, tf.fill([4], unknown), logit)
        assert np.isfinite([target, weight]).all()
    np.testing.assert_array_equal(weight, [0, 1, 2, 2])


#: Final labels l of a click, what of each is known early, and how probable that is.
OUTCOMES = [(0.0, 0.0, 0.6), (0.5, 0.5, 0.1), (0.5, 0.0, 0.1), (1.0, 0.25, 0.15), (1.0, 1.0, 0.05)]


def gradient(logit, weighted):
    """Expected gradient of a copy's loss by the logit, over all outcomes, in float64."""
    final, known, probability = map(np.array, zip(*OUTCOMES, strict=True))
    label, unknown = np.concatenate([known, final]), 1 - (known @ probability) / (final @ probability)
    logits = tf.fill([label.size], tf.constant(logit, tf.float64))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        target, weight = tf.constant(label), tf.ones(label.size, tf.float64)
        if weighted:
            target, weight = reweighted(target, tf.fill([label.size], tf.constant(unknown, tf.float64)), logits)
        loss = weight * tf.nn.sigmoid_cross_entropy_with_logits(target, logits) * np.tile(probability, 2) / 2
    return float(tf.reduce_sum(tape.gradient(loss, logits))), unknown


def test_expected_gradient_is_that_of_the_final_labels_times_the_negatives_weight():
    p = 0.5 * 0.2 + 0.2
    for f in (0.01, 0.1, 0.3, 0.5, 0.9):
        found, unknown = gradient(np.log(f / (1 - f)), weighted=True)
        assert unknown == pytest.approx(1 - (0.05 + 0.0375 + 0.05) / p)
        assert found == pytest.approx((1 - f) / (1 - f + f * unknown / 2) * (f - p), rel=1e-12)
    assert gradient(np.log(p / (1 - p)), weighted=True)[0] == pytest.approx(0, abs=1e-15)
    assert gradient(np.log(p / (1 - p)), weighted=False)[0] > 0.05


def test_curve_by_hand():
    # Hours without credit: 5 of 8 credits known. An hour counts as having one credit more, of that share.
    expected = [1 - (1 + 5 / 8) / 5, *[3 / 8] * 22, 1 - (4 + 5 / 8) / 5]
    np.testing.assert_allclose(CURVE.unknown("last"), expected, rtol=1e-12)
    twice = CURVE.merged(CURVE)
    assert (twice.known["last"][0], twice.final["last"][23]) == (2, 8)
    assert DelayCurve.model_validate_json(CURVE.model_dump_json()) == CURVE
    shrunk = DelayCurve(known={"mta": [3.0] * 24}, final={"mta": [2.0] * 24})
    np.testing.assert_array_equal(shrunk.unknown("mta"), 0)


def test_a_curve_without_credit_is_refused():
    nothing = DelayCurve(known={"last": [0.0] * 24}, final={"last": [0.0] * 24})
    for mechanism in ("last", "first"):
        with pytest.raises(MalTfError, match=f"expected credit of mechanism '{mechanism}'"):
            nothing.unknown(mechanism)
    with pytest.raises(ValueError, match="known has last; final has first"):
        DelayCurve(known={"last": [0.0] * 24}, final={"first": [0.0] * 24})


def test_labels_of_a_batch_by_hand():
    labels = {"last": tf.constant([0.0, 1.0, 0.0, 1.0]), "mature": tf.constant([0, 0, 1, 1], tf.int64)}
    time = tf.constant([86_400_000 - 1, 86_400_000, 172_800_000 - 1, 0], tf.int64)
    user = tf.constant(["a"] * 4)
    found = DelayedFeedback(CURVE, DAYS[1:2], units_per_second=1000).training_labels(labels, time, user)
    assert found[COUNTS].numpy().tolist() == [0, 1, 1, 1]
    first, last = CURVE.unknown("last")[[0, 23]]
    np.testing.assert_allclose(found["last/unknown"], [0, first, last, 0], rtol=1e-6)
    assert AsFinal().training_labels(labels, time, user)["mature"].numpy().tolist() == [1, 1, 1, 1]


def test_clicks_of_users_that_wait_come_once():
    labels = {"last": tf.ones(4), "mature": tf.constant([0, 1, 0, 1], tf.int64)}
    user = tf.constant(["a", "a", "h", "h"])
    assert waits(user, 0.5).numpy().tolist() == [False, False, True, True]  # As in every training before and after.
    found = DelayedFeedback(CURVE, DAYS, waiting=0.5).training_labels(labels, tf.zeros(4, tf.int64), user)
    assert found[COUNTS].numpy().tolist() == [1, 1, 0, 1]
    unknown = CURVE.unknown("last")[0]
    np.testing.assert_allclose(found["last/unknown"], [unknown, unknown, 0, 0], rtol=1e-6)


def test_a_share_of_users_waits_and_a_larger_one_has_the_same_users():
    user = tf.constant([f"u{number}" for number in range(10_000)])
    some, more = waits(user, 0.1).numpy(), waits(user, 0.25).numpy()
    assert not waits(user, 0.0).numpy().any() and waits(user, 1.0).numpy().all()
    assert some.mean() == pytest.approx(0.1, abs=0.01) and more.mean() == pytest.approx(0.25, abs=0.01)
    assert (more | ~some).all()


def test_head_losses_by_hand():
    network = build("natal")
    trainer = Trainer(network, network_targets(network), TrainingConfig(loss="soft"))
    curve = DelayCurve(known=dict.fromkeys(LABELS, [1.0] * 24), final=dict.fromkeys(LABELS, [2.0] * 24))
    labels = LABELS | {"last": tf.constant([0.5, 0.0]), "mature": tf.constant([0, 1], tf.int64)}
    time, user = tf.constant([7200, 0], tf.int64), tf.constant(["a", "b"])
    labels = DelayedFeedback(curve, DAYS[:1]).training_labels(labels, time, user)
    losses = {h.output: float(v) for h, v in zip(network.heads, trainer.head_losses((ROWS, labels)), strict=True)}
    outputs = network.model(ROWS)
    f = 1 / (1 + np.exp(-outputs["last"].numpy().astype(np.float64)))
    negative = (1 - f) / (1 - f + f / 4)
    of_each = [-0.5 * 4 / 3 * np.log(f[0]) - 0.5 * negative[0] * np.log(1 - f[0]), -negative[1] * np.log(1 - f[1])]
    assert losses["last"] == pytest.approx(np.mean(of_each), rel=1e-5)
    # The CAT head sees the mature click alone, whose class is 0.
    logits = outputs["cat"].numpy()[1]
    assert losses["cat"] == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], rel=1e-5)


def test_days_that_do_not_come_twice_train_as_ever(tmp_path):
    split, config = small.write(tmp_path), {"loss": "soft"}
    curve = DelayCurve(known=dict.fromkeys(small.TARGETS, [1.0] * 24), final=dict.fromkeys(small.TARGETS, [2.0] * 24))
    as_ever = small.train(split, tmp_path / "default", "mal", config)[0]
    ways = {"once": DelayedFeedback(curve, ()), "twice": DelayedFeedback(curve, DAYS), "as final": AsFinal()}
    same = {}
    for name, way in ways.items():
        weights = small.train(split, tmp_path / name, "mal", config, immature=way)[0]
        same[name] = all(np.array_equal(*pair) for pair in zip(weights, as_ever, strict=True))
    assert same == {"once": True, "twice": False, "as final": False}


def test_losses_without_such_weights_are_refused(tmp_path):
    with pytest.raises(MalTfError, match="training.loss: expected `soft` with delayed feedback, found `weighted`"):
        small.train(small.write(tmp_path), tmp_path, "base", {}, immature=DelayedFeedback(CURVE, ()))
