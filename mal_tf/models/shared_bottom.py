"""Model `shared_bottom`: a shared bottom and a tower per mechanism (Caruana, "Multitask Learning", 1997)."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import BottomConfig
from mal_tf.models.network import Network, bottom, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: BottomConfig, targets: Sequence[str]) -> Network:
    """Shared bottom → a tower and a logit per target."""
    inputs, v = bottom(spec, sizes, config)
    return towers("shared_bottom", inputs, dict.fromkeys(targets, v), config)
