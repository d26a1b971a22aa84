import pytest

from features.keras2 import keras
from mal_tf.layers.attention import TargetAttention
from mal_tf.layers.expert import Expert
from mal_tf.layers.feature_gate import FeatureGate
from mal_tf.layers.gate import Gate, SelfGate
from mal_tf.layers.multi_head import MultiHeadTargetAttention
from mal_tf.layers.senet import SqueezeExcitation
from mal_tf.layers.simtier import SimTier
from mal_tf.layers.stacked_embedding import StackedEmbedding
from mal_tf.layers.tower import MLP, KnowledgeFusion
from mal_tf.layers.tower_fusion import TowerFusion

LAYERS = [
    Expert([4, 2], normalized=True, senet_width=8),
    FeatureGate(3),
    Gate(),
    KnowledgeFusion([3]),
    MLP([3]),
    MultiHeadTargetAttention(2),
    SelfGate(),
    SimTier(8),
    SqueezeExcitation(8, 2),
    StackedEmbedding({"item": 3, "a": 2}, 4),
    TargetAttention([3]),
    TowerFusion(),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_config_makes_the_same_layer(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
