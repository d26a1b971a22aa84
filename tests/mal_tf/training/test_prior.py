"""Heads begin at the log-odds of their targets, under the loss in use, unless something better is known."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from features.keras2 import keras, tf
from mal_tf.attribution.label_counts import LabelCounts
from mal_tf.models.catalog import MODELS
from mal_tf.models.config import CAT
from mal_tf.training import losses, prior, warm_start
from tests.mal_tf.training import small

LABELS = {
    "last": np.array([1, 0, 0, 0, 0, 0, 0, 0], np.float32),
    "first": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.float32),
    "linear": np.array([0.5, 0.5, 0.25, 0, 0, 0, 0, 0], np.float32),
}
COUNTS = LabelCounts.count(LABELS)


def network(name="mal", targets=small.TARGETS, seed=1, **options):
    model = small.architecture(name, **options)
    keras.utils.set_random_seed(seed)
    return warm_start.describe(name, small.SPEC, model, targets, small.VOCABULARIES).build(), model


@pytest.mark.parametrize("loss", ["weighted", "soft", "binary", "pymal"])
@pytest.mark.parametrize("target", list(LABELS))
def test_no_constant_has_a_smaller_loss(loss, target):
    """Against a minimiser that knows nothing of log-odds: the trainer's own losses of a constant logit."""
    label, weight = losses.target_and_weight(tf.constant(LABELS[target]), loss)

    def of_constant(logit: float) -> float:
        each = tf.nn.sigmoid_cross_entropy_with_logits(label, tf.fill(label.shape, np.float32(logit)))
        return float(tf.reduce_sum(losses.share(weight) * each))

    best = minimize_scalar(of_constant, bounds=(-6, 3), method="bounded", options={"xatol": 1e-4})
    assert prior.log_odds(COUNTS, target, loss) == pytest.approx(best.x, abs=5e-3)


def test_targets_without_a_positive_or_a_negative_have_a_finite_prior():
    none = LabelCounts(100, {"last": 0, "all": 100}, {"last": 0.0, "all": 100.0}, {2: 100})
    assert prior.log_odds(none, "last", "weighted") == pytest.approx(np.log(0.5 / 100))
    assert prior.log_odds(none, "all", "soft") == pytest.approx(np.log(100 / 0.5))
    shares = np.exp(prior.log_shares(none, ["last", "all"]))
    assert shares.sum() == pytest.approx(1) and np.isfinite(shares).all() and shares.argmax() == 2


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("two_classes", [False, True])
def test_every_head_of_every_model_predicts_the_prior_where_nothing_speaks(name, two_classes):
    made, model = network(name, two_class_softmax=two_classes)
    prior.start(made, COUNTS, model, "soft", small.TARGETS)
    for head in made.heads:
        expected = (
            prior.log_shares(COUNTS, small.TARGETS)
            if head.target == CAT
            else prior.log_odds(COUNTS, head.target, "soft")
        )
        np.testing.assert_allclose(made.output_bias(head.output), expected, rtol=1e-6)
        layer = made.model.get_layer(head.output)
        layer = layer if layer.weights else made.model.get_layer(f"{head.output}_head")
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    rows = {feature.name: small_rows(feature) for feature in small.SPEC.features}
    logits = made.model(rows)
    for head in made.heads:
        np.testing.assert_allclose(logits[head.output], [made.output_bias(head.output)] * 2, rtol=1e-5)


def small_rows(feature):
    return tf.ones([2, feature.length] if feature.type == "history" else [2], tf.int32)


def test_all_towers_on_the_primary_begin_at_the_primarys_prior():
    made, model = network(single_attribution=True)
    found = prior.start(made, COUNTS, model, "weighted", small.TARGETS)
    assert {float(logit) for logit in found.values()} == {prior.log_odds(COUNTS, "last", "weighted")}


def test_pymal_begins_as_it_was_drawn():
    made, model = network(compatibility="pymal")
    before = made.model.get_weights()
    assert prior.start(made, COUNTS, model, "pymal", small.TARGETS) == {}
    for found, expected in zip(made.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_labels_that_nobody_counted_are_said(caplog):
    made, model = network()
    for counts in (None, dataclasses.replace(COUNTS, clicks=0)):
        assert prior.start(made, counts, model, "weighted", small.TARGETS) == {}
    assert caplog.text.count("mal: the training split has no counts of mature labels, so its heads start at 0.5") == 2


def test_a_head_of_ones_own_making_stays_as_it_is_and_the_log_says_so(caplog):
    made, model = network("shared_bottom")
    output = keras.layers.Dense(1, use_bias=False, name="own")(made.model.get_layer("last_tower").output)
    outputs = made.model.output | {"first": keras.layers.Reshape((), name="own_first")(output)}
    outputs["first"] = keras.layers.Lambda(lambda logits: 2 * logits, name="scaled")(outputs["first"])
    heads = tuple(dataclasses.replace(head, output="scaled") if head.target == "first" else head for head in made.heads)
    outputs["scaled"] = outputs.pop("first")
    mixed = dataclasses.replace(made, model=keras.Model(made.model.input, outputs, name="mixed"), heads=heads)
    found = prior.start(mixed, COUNTS, model, "weighted", small.TARGETS)
    assert set(found) == {"last", "linear"} == set(prior.kept(mixed, found))
    assert "mixed: no prior for scaled, whose logits were not created by logit or cat_logits" in caplog.text


def test_a_new_head_beside_restored_ones_has_the_prior_and_they_what_was_learned(tmp_path):
    earlier, _ = network(targets=("last", "first"), auxiliaries=("first",))
    for head in earlier.heads:
        earlier.set_output_bias(head.output, np.full(np.shape(earlier.output_bias(head.output)), 7.0))
    model = small.architecture("mal", auxiliaries=("first",))
    then = warm_start.describe("mal", small.SPEC, model, ("last", "first"), small.VOCABULARIES)
    warm_start.write(str(tmp_path), earlier, then)

    made, model = network(seed=2)
    now = warm_start.describe("mal", small.SPEC, model, small.TARGETS, small.VOCABULARIES)
    start = prior.start(made, COUNTS, model, "weighted", small.TARGETS)
    warm_start.take_over(made, now, small.VOCABULARIES, str(tmp_path))
    kept = prior.kept(made, start)
    assert set(kept) == {"aka_linear", "aka_cat"}  # CAT's classes are others.
    assert kept["aka_linear"] == pytest.approx(prior.log_odds(COUNTS, "linear", "weighted"))
    assert len(kept["aka_cat"]) == 8 and json.dumps(kept)
    assert made.output_bias("last") == made.output_bias("aka_first") == 7


def test_a_training_begins_there_and_says_so(tmp_path):
    split = small.write(tmp_path)
    _, result = small.train(split, tmp_path / "run", "base", {"learning_rate": 1e-12, "embedding_learning_rate": 1e-12})
    assert result["prior"] == {"last": pytest.approx(prior.log_odds(split.labels, "last", "weighted"))}
    label = split.labels.positives["last"] / split.labels.clicks
    assert result["losses"]["last"] < -label * np.log(label) - (1 - label) * np.log(1 - label) + 0.1
