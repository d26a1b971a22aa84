"""`base`: the primary target alone, the usual CVR model."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import BottomConfig
from mal_tf.models.network import Network, bottom, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: BottomConfig, targets: Sequence[str]) -> Network:
    """Shared bottom → the primary target's tower → logit. `targets` other than the primary are not used."""
    inputs, v = bottom(spec, sizes, config)
    return towers("base", inputs, {config.primary: v}, config)
