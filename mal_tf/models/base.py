"""`base`: the primary target alone, the usual CVR model."""

from collections.abc import Mapping, Sequence

from features.keras2 import keras
from features.spec import FeatureSpec
from mal_tf.layers.tower import MLP
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Head, Network, bottom, logit


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: ModelConfig, targets: Sequence[str]) -> Network:
    """Shared bottom → the primary target's tower → logit. `targets` other than the primary are not used."""
    inputs, v = bottom(spec, sizes, config)
    primary = config.primary
    outputs = {primary: logit(MLP(config.tower_units, name=f"{primary}_tower")(v), primary)}
    return Network(keras.Model(inputs, outputs, name="base"), (Head(primary, primary, primary=True),))
