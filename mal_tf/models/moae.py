"""Model `moae`: mixture of attribution experts (arXiv 2603.02184, alimama-tech/PyMAL)."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import MoaeConfig
from mal_tf.models.extraction import SHARED, extract
from mal_tf.models.fused_towers import fused_towers
from mal_tf.models.network import Network, click


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: MoaeConfig, targets: Sequence[str]) -> Network:
    """Each view, a target or with `cat` the CAT class, mixes shared and own experts, followed by the towers of NATAL."""
    inputs, x = click(spec, sizes, config)
    views = dict.fromkeys((SHARED, config.primary, *config.auxiliary_views(targets)), x)
    return fused_towers("moae", inputs, extract(views, 1, config, last=True), config, targets)
