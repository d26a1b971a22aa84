"""Model `base`: a single-task CVR model of the primary target."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import BottomConfig
from mal_tf.models.network import Network, bottom, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: BottomConfig, targets: Sequence[str]) -> Network:
    """Bottom → tower of the primary target → logit. Targets other than the primary are not used."""
    inputs, v = bottom(spec, sizes, config)
    return towers("base", inputs, {config.primary: v}, config)
