import numpy as np
import pydantic
import pytest

from features.errors import MalTfError
from features.keras2 import keras, tf
from features.lookup import lookup_model
from mal_tf.models.catalog import MODELS
from mal_tf.models.config import CONFIGS, ModelConfig, config_class, used_keys
from mal_tf.serving.export import ServedModel
from mal_tf.training.config import TrainingConfig
from mal_tf.training.trainer import Trainer
from tests.support.models import LABELS, ROWS, SPEC, TARGETS, VOCABULARIES, build, network_targets

CATEGORIES = {"single": ["first", "last"], "multi": ["linear"]}
CAT_MODELS = [name for name, keys in CONFIGS.items() if "cat" in keys.model_fields]
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
        ("home", {"own_experts": 2, "categories": CATEGORIES}, HEADS),
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


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in MODELS), *((n, {"cat": False}) for n in CAT_MODELS)]
)
def test_no_auxiliary_at_all(name, options):
    network = build(name, auxiliaries=[], **options)
    assert {head.target for head in network.heads} <= {"last", "cat"}
    assert np.isfinite(Trainer(network, ("last",), TrainingConfig()).compute_loss((ROWS, LABELS)))


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name):
    network = build(name, **({"categories": CATEGORIES} if name == "home" else {}))
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
    network = build("home", categories=CATEGORIES)
    before = {key: value.numpy() for key, value in network.model(ROWS).items()}
    layer = network.model.get_layer("category.multi_expert_2_0")
    layer.set_weights([w + 1 for w in layer.get_weights()])
    after = network.model(ROWS)
    np.testing.assert_array_equal(after["last"], before["last"])
    assert not np.allclose(after["linear"], before["linear"])


def test_errors_for_people():
    with pytest.raises(pydantic.ValidationError, match=r"unknown model 'mall'; did you mean 'mal'\? Known: base"):
        ModelConfig(name="mall", primary="last")
    with pytest.raises(ValueError, match="each target has one category"):
        ModelConfig(name="home", primary="last", categories={"a": ["last"], "b": ["last"]})
    with pytest.raises(ValueError, match="expected a list of mechanisms or 'auto', found 'first'"):
        ModelConfig(primary="last", auxiliaries="first")
    with pytest.raises(MalTfError, match="auto: select them first"):
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
    config = ModelConfig(name="ple", primary="last", compatibility="pymal", tower_units=[8])
    assert (config.attention, config.levels, config.tower_units) == ("multi_head", 1, (8,))
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config


def test_models_that_are_trained_together_share_keys_and_have_no_others():
    config = ModelConfig(
        name="mal", compare_with=["base", "ple"], primary="last", levels=3, bottom_units=[4], cat=False
    )
    assert ModelConfig.model_validate(config.model_dump(mode="json")) == config
    alone = {name: config.alone(name) for name in ("mal", "base", "ple", "moae")}
    assert {name: set(one.model_dump()) for name, one in alone.items()} == {
        name: set(CONFIGS[name].model_fields) for name in alone
    }
    assert (alone["ple"].levels, alone["base"].bottom_units, alone["moae"].cat) == (3, (4,), False)
    assert (alone["ple"].name, alone["ple"].compare_with, alone["ple"].learns_cat) == ("ple", (), False)
    own = ModelConfig(name="ple", primary="last", levels=3, compatibility="pymal")
    assert (own.alone("ple"), own.alone("ple").expert_units) == (own, (256,))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"experts": 4}, "'experts' has no effect on mal, base: it is a key of mmoe; remove it"),
        ({"expert_units": [4]}, "it is a key of mmoe, ple, home, moae"),
        ({"tower_unit": [4]}, "unknown key 'tower_unit'; did you mean 'tower_units'"),
        ({"name": "no.such.package:build"}, "no.such.package can't be imported"),
        ({"name": "mal_tf.models.base:build", "fusion_units": [4]}, "'fusion_units' has no effect on"),
        (
            {"name": "mal_tf.layers.gate", "temperature": 2},
            "'mal_tf.layers.gate': expected a function 'build' in mal_tf",
        ),
        ({"name": "mal_tf.models.base:construct"}, "expected a function 'construct' in mal_tf.models.base, found none"),
    ],
)
def test_a_key_that_no_model_uses_is_an_error(keys, message):
    keys = {"name": "mal", "compare_with": ["base"], "primary": "last"} | keys
    for read in (ModelConfig.model_validate, lambda keys: ModelConfig(**keys)):
        with pytest.raises(ValueError, match=message):
            read(keys)


def test_what_an_earlier_version_wrote_is_read():
    """Its models had all keys."""
    every = config_class(list(MODELS))(primary="last", levels=3, bottom_units=[4]).model_dump(mode="json")
    assert {"experts", "fusion_units", "gate_rank"} < set(every)
    read = ModelConfig.model_validate(used_keys(every | {"name": "ple", "compare_with": []}))
    assert read == ModelConfig(name="ple", primary="last", levels=3)
    assert "levles" in used_keys({"name": "ple", "levles": 3})


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
