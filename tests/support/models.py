"""A small model of two features, its inputs and its labels."""

from features.keras2 import keras, tf
from features.lookup import table_sizes
from features.spec import FeatureSpec
from mal_tf.models import factory
from mal_tf.models.config import ModelConfig

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
    config = ModelConfig(name=name, primary="last", **options)
    return factory.build(name, SPEC, table_sizes(SPEC, VOCABULARIES), config, config.targets(TARGETS))
