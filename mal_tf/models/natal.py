"""Model `natal`: auxiliary towers fused into the primary tower at every layer (arXiv 2603.02184, alimama-tech/PyMAL)."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import NatalConfig
from mal_tf.models.fused_towers import fused_towers
from mal_tf.models.network import Network, bottom


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: NatalConfig, targets: Sequence[str]) -> Network:
    """Shared bottom → a tower per target and, with `cat`, one for the CAT class, all fused into the primary tower."""
    inputs, v = bottom(spec, sizes, config)
    vectors = dict.fromkeys((config.primary, *config.auxiliary_views(targets)), v)
    return fused_towers("natal", inputs, vectors, config, targets)
