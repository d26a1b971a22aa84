import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig
from mal_tf.training import auxiliaries, optimizers
from mal_tf.training.config import TrainingConfig
from mal_tf.training.split import Split
from mal_tf.training.trainer import Trainer
from tests.mal_tf.training import small
from tests.support.models import LABELS, ROWS, TARGETS, build


def test_progressive_losses_are_those_before_each_step():
    """Against a loop of its own: loss of the primary head, then a step by hand."""
    config = TrainingConfig(loss="binary")
    trainer = Trainer(build("shared_bottom"), TARGETS, config)
    trainer.compile(optimizer=keras.optimizers.SGD(0.5))
    other = {name: value[::-1] for name, value in LABELS.items()}
    data = tf.data.Dataset.from_tensors((ROWS, LABELS)).concatenate(tf.data.Dataset.from_tensors((ROWS, other)))
    found = auxiliaries.progressive_losses(trainer, data)

    network, expected = build("shared_bottom"), []
    for labels in (LABELS, other):
        with tf.GradientTape() as tape:
            logits = network.model(ROWS)
            each = {name: tf.nn.sigmoid_cross_entropy_with_logits(labels[name], logits[name]) for name in TARGETS}
            means = {name: tf.reduce_mean(loss) for name, loss in each.items()}
            total = means["last"] + 0.3 * (means["first"] + means["linear"])
        expected.append(float(means["last"]))
        for variable, gradient in zip(
            network.model.trainable_variables, tape.gradient(total, network.model.trainable_variables), strict=True
        ):
            variable.assign_sub(0.5 * tf.convert_to_tensor(gradient))
    assert found == pytest.approx(expected, rel=1e-5)


def test_interval_by_hand():
    # Twenty blocks of two, with means 0 and 2 in turns: mean 1, variance 20/19 of the block means.
    values = np.tile([0.0, 0.0, 1.0, 3.0], 10)
    for tests, quantile in (
        (1, 1.729133),
        (2, 2.093024),
        (5, 2.539483),
    ):  # 5%, 2.5% and 1% of Student's t, 19 degrees of freedom.
        half = quantile * (20 / 19 / 20) ** 0.5
        assert auxiliaries.interval(values, tests) == pytest.approx((1, 1 - half, 1 + half), rel=1e-5)


def test_forward_selection_by_hand():
    """b saves 3 of 10, then a saves 1 of 7 beside it; c saves 2 alone but costs 1 beside them."""
    means = {(): 10, ("a",): 9, ("b",): 7, ("c",): 8, ("b", "a"): 6, ("b", "c"): 7, ("b", "a", "c"): 7}
    asked = []

    def losses(chosen):
        asked.append(chosen)
        return np.full(40, float(means[chosen]))

    found = auxiliaries.forward_selection(losses, ["a", "b", "c"])
    assert sorted(asked) == sorted(means)
    assert list(found) == ["b", "a", "c"]
    assert [found[name]["gain"] for name in "bac"] == pytest.approx([3 / 10, 1 / 7, -1 / 6])
    assert [found[name]["chosen"] for name in "bac"] == [True, True, False]


def test_a_gain_within_the_noise_is_none():
    noise = np.random.default_rng(0).normal(size=200)
    series = {(): noise, ("a",): noise[::-1] - 0.05}
    found = auxiliaries.forward_selection(lambda chosen: 10 + series[chosen], ["a"])
    assert found["a"]["low"] < 0 < found["a"]["gain"] and not found["a"]["chosen"]


def test_more_of_the_same_conversions_are_chosen_and_noise_is_not():
    """The primary sees a tenth of the conversions, one auxiliary all of them, the other throws of a coin."""
    generator, items, batch_size, steps = np.random.default_rng(1), 300, 256, 150
    rate, item = generator.beta(1, 3, size=items), generator.integers(items, size=batch_size * steps)
    every = generator.random(item.size) < rate[item]
    labels = {
        "some": every & (generator.random(item.size) < 0.1),
        "every": every,
        "coin": generator.random(item.size) < 0.5,
        "mature": np.ones(item.size),
    }
    labels = {name: label.astype(np.float32) for name, label in labels.items()}
    dataset = tf.data.Dataset.from_tensor_slices(({"item": item.astype("int32") + 2}, labels)).batch(batch_size)
    spec = FeatureSpec(features=[{"type": "categorical", "name": "item"}])
    config = TrainingConfig(learning_rate=0.01)

    def losses(chosen):
        keras.utils.set_random_seed(0)
        model = ModelConfig(primary="some", auxiliaries=chosen, embedding_dim=4, bottom_units=[8], tower_units=[4])
        targets = model.targets(list(labels))
        network = factory.build("shared_bottom", spec, {"item": items + 2}, model, targets)
        trainer = Trainer(network, targets, config)
        trainer.compile(optimizer=optimizers.build(network, config, steps))
        return auxiliaries.progressive_losses(trainer, dataset)[steps // 2 :]

    found = auxiliaries.forward_selection(losses, ["coin", "every"])
    assert found["every"]["chosen"] and not found["coin"]["chosen"], found
    np.testing.assert_array_equal(losses(("coin",)), losses(("coin",)))


def test_too_few_batches_are_refused():
    with pytest.raises(MalTfError, match="expected at least 40 batches, found 2 of 512"):
        auxiliaries.choose_auxiliaries(small.recipe(Split([["a"]], [[1000]]), "mal", batch_size=512))
