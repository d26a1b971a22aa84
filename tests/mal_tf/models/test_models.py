import numpy as np
import pytest

from features.keras2 import keras, tf
from features.lookup import lookup_model, table_sizes
from features.spec import FeatureSpec
from mal_tf.models import catalog
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


def build(name="mal", **options):
    keras.utils.set_random_seed(0)
    config = ModelConfig(primary="last", **options)
    return catalog.build(name, SPEC, table_sizes(SPEC, VOCABULARIES), config, TARGETS)


@pytest.mark.parametrize(
    ("name", "options", "outputs"),
    [
        ("base", {}, {"last": [2]}),
        ("mal", {}, {"last": [2], "aka_first": [2], "aka_last": [2], "aka_linear": [2], "aka_cat": [2, 8]}),
        ("mal", {"cat": False, "cross_layers": 1}, {"last": [2], "aka_first": [2], "aka_last": [2], "aka_linear": [2]}),
    ],
)
def test_outputs(name, options, outputs):
    network = build(name, **options)
    assert {key: value.shape.as_list() for key, value in network.model(ROWS).items()} == outputs
    assert [head.output for head in network.heads] == list(outputs)
    assert network.primary.target == "last"


def test_single_attribution_has_the_primary_label_everywhere():
    assert {head.target for head in build(single_attribution=True).heads} == {"last"}


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
