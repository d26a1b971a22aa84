import numpy as np
import pytest

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.catalog import MODELS
from mal_tf.models.config import ModelConfig
from mal_tf.serving.export import ServedModel
from mal_tf.training.config import TrainingConfig
from mal_tf.training.trainer import Trainer

SPEC = FeatureSpec(
    features=[{"type": "categorical", "name": "item"}, {"type": "history", "name": "seen", "of": "item", "length": 3}]
)
VOCABULARIES = {"item": ["a", "b"]}
TARGETS = ("first", "last", "linear")
ROWS = {"item": tf.constant([2, 3]), "seen": tf.constant([[2, 0, 0], [0, 0, 0]])}
LABELS = {name: tf.constant([1.0, 0.0]) for name in TARGETS} | {"mature": tf.constant([1, 1], tf.int64)}


def network_targets(network):
    return tuple(target for target in TARGETS if target in {head.target for head in network.heads})


def build(name="mal", **options):
    keras.utils.set_random_seed(0)
    config = ModelConfig(primary="last", **options)
    return factory.build(name, SPEC, table_sizes(SPEC, VOCABULARIES), config, config.targets(TARGETS))


HEADS = {"last": [2], "first": [2], "linear": [2]}
AKA = {"last": [2], "aka_first": [2], "aka_last": [2], "aka_linear": [2]}


@pytest.mark.parametrize(
    ("name", "options", "outputs"),
    [
        ("base", {}, {"last": [2]}),
        ("shared_bottom", {}, HEADS),
        ("mmoe", {"experts": 3}, HEADS),
        ("ple", {"shared_experts": 2, "own_experts": 2}, HEADS),
        ("ple", {"auxiliaries": ["first"], "levels": 1}, {"last": [2], "first": [2]}),
        ("home", {}, HEADS),
        ("home", {"own_experts": 2, "categories": {"single": ["first", "last"], "multi": ["linear"]}}, HEADS),
        ("mal", {}, AKA | {"aka_cat": [2, 8]}),
        ("mal", {"cat": False, "cross_layers": 1}, AKA),
        ("natal", {}, HEADS | {"cat": [2, 8]}),
        ("natal", {"auxiliaries": [], "cat": False}, {"last": [2]}),
        ("moae", {"attention": "multi_head", "query": ["item"], "two_class_softmax": True}, HEADS | {"cat": [2, 8]}),
        ("moae", {"cat": False, "senet": True, "layer_norm": True, "tower_units": [8]}, HEADS),
    ],
)
def test_outputs(name, options, outputs):
    network = build(name, **options)
    assert {key: value.shape.as_list() for key, value in network.model(ROWS).items()} == outputs
    assert [head.output for head in network.heads] == list(outputs)
    assert network.primary.target == "last"
    empty = {key: value[:0] for key, value in ROWS.items()}
    assert network.model(empty)["last"].shape == [0]


@pytest.mark.parametrize("name", MODELS)
def test_single_attribution_has_the_primary_label_everywhere(name):
    network = build(name, single_attribution=True)
    assert {head.target for head in network.heads} == {"last"}
    assert not any("cat" in head.output for head in network.heads)


@pytest.mark.parametrize("cat", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_no_auxiliary_at_all(name, cat):
    network = build(name, auxiliaries=[], cat=cat)
    assert {head.target for head in network.heads} <= {"last", "cat"}
    assert np.isfinite(Trainer(network, ("last",), TrainingConfig()).compute_loss((ROWS, LABELS)))


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name):
    network = build(name, categories={"single": ["first", "last"], "multi": ["linear"]})
    trainer, inputs = Trainer(network, network_targets(network), TrainingConfig()), (ROWS, LABELS)
    with tf.GradientTape() as tape:
        loss = trainer.compute_loss(inputs, training=True)
    variables = network.model.trainable_variables
    learns = dict(zip((v.name for v in variables), tape.gradient(loss, variables), strict=True))
    assert [variable for variable, gradient in learns.items() if gradient is None] == []


def test_ple_reads_its_own_branch():
    """Level 2 of a target must not see another target's experts of level 1; the shared branch sees all."""
    network = build("ple", own_experts=1)
    model = network.model
    probe = keras.Model(model.input, model.get_layer("first_expert_2_0").input)
    shared = keras.Model(model.input, model.get_layer("all.shared_expert_2_0").input)
    before = probe(ROWS).numpy(), shared(ROWS).numpy()
    layer = model.get_layer("last_expert_1_0")
    layer.set_weights([w + 1 for w in layer.get_weights()])
    np.testing.assert_array_equal(probe(ROWS), before[0])
    assert not np.allclose(shared(ROWS), before[1])


def test_home_masks_other_categories():
    network = build("home", categories={"single": ["first", "last"], "multi": ["linear"]})
    before = {key: value.numpy() for key, value in network.model(ROWS).items()}
    layer = network.model.get_layer("category.multi_expert_2_0")
    layer.set_weights([w + 1 for w in layer.get_weights()])
    after = network.model(ROWS)
    np.testing.assert_array_equal(after["last"], before["last"])
    assert not np.allclose(after["linear"], before["linear"])


def test_errors_for_people():
    with pytest.raises(ValueError, match="unknown model 'mall'; there are: base"):
        ModelConfig(name="mall", primary="last")
    with pytest.raises(ValueError, match="each target has one category"):
        ModelConfig(primary="last", categories={"a": ["last"], "b": ["last"]})
    with pytest.raises(ValueError, match="expected a list of mechanisms or 'auto', found 'first'"):
        ModelConfig(primary="last", auxiliaries="first")
    with pytest.raises(MalTfError, match="auto: choose them first"):
        build(auxiliaries="auto")
    with pytest.raises(MalTfError, match="none has target 'linear'"):
        build("home", categories={"a": ["first", "last"]})
    with pytest.raises(MalTfError, match="no categorical or numeric feature 'shop'; there are: item"):
        build(attention="multi_head", query=["shop"])
    with pytest.raises(ValueError, match="set attention to multi_head"):
        ModelConfig(primary="last", query=["item"])
    with pytest.raises(ValueError, match="can't be an auxiliary too"):
        ModelConfig(primary="last", auxiliaries=["last"])


def test_preset_fills_what_is_not_said():
    config = ModelConfig(primary="last", compatibility="pymal", tower_units=[8])
    assert (config.attention, config.levels, config.tower_units) == ("multi_head", 1, (8,))
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config


def test_knowledge_of_every_tower_reaches_the_primary_prediction():
    network = build()
    before = network.model(ROWS)["last"].numpy()
    for target in (*TARGETS, "cat"):
        tower = network.model.get_layer(f"aka_{target}_tower")
        weights = tower.get_weights()
        tower.set_weights([w + 1 for w in weights])
        assert not np.allclose(network.model(ROWS)["last"], before), target
        tower.set_weights(weights)


def test_immature_clicks_have_no_weight():
    trainer = Trainer(build(), TARGETS, TrainingConfig())
    one = {name: value[:1] for name, value in ROWS.items()}, {name: value[:1] for name, value in LABELS.items()}
    both = ROWS, LABELS | {"mature": tf.constant([1, 0], tf.int64)}
    assert float(trainer.compute_loss(both)) == pytest.approx(float(trainer.compute_loss(one)), rel=1e-6)


def test_served_model_has_only_what_the_primary_needs():
    network = build()
    served = ServedModel(SPEC, lookup_model(SPEC, VOCABULARIES), network)
    names = {variable.name for variable in served._network.variables}
    assert not any("aka" in name and "head" in name for name in names)
    assert not any(name.startswith("aka_cat/") for name in names)
    assert any(name.startswith("aka_first_tower") for name in names)
    raw = {"item": tf.constant(["a", "never seen"]), "seen": tf.constant([["b"], [""]])}
    expected = tf.sigmoid(
        network.model({"item": tf.constant([2, 1]), "seen": tf.constant([[3, 0, 0], [0, 0, 0]])})["last"]
    )
    np.testing.assert_allclose(served.predict_raw(raw)["cvr"], expected, rtol=1e-6)
    empty = {"item": tf.constant([], tf.string), "seen": tf.zeros([0, 0], tf.string)}
    assert served.predict_raw(empty)["cvr"].shape == [0]
