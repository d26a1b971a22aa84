"""Keras layers of the models. Each is registered with Keras as `mal_tf>Name`, so that saved models can be loaded.

Example:
    >>> import mal_tf, tensorflow as tf
    >>> mal_tf.layers.MLP([16, 8])(tf.ones([2, 4])).shape
    TensorShape([2, 8])
"""

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

__all__ = [
    "MLP",
    "Expert",
    "FeatureGate",
    "Gate",
    "KnowledgeFusion",
    "MultiHeadTargetAttention",
    "SelfGate",
    "SimTier",
    "SqueezeExcitation",
    "StackedEmbedding",
    "TargetAttention",
    "TowerFusion",
]
