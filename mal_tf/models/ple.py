"""Model `ple`: progressive layered extraction (Tang et al., RecSys '20, 10.1145/3383313.3412236)."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models.config import PleConfig
from mal_tf.models.extraction import SHARED, extract
from mal_tf.models.network import Network, click, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: PleConfig, targets: Sequence[str]) -> Network:
    """`config.levels` levels of shared and own experts, followed by a tower per target.

    The published model has two levels. One level is CGC, which PyMAL calls PLE.
    """
    inputs, x = click(spec, sizes, config)
    branches = dict.fromkeys((SHARED, *targets), x)
    for level in range(1, config.levels + 1):
        branches = extract(branches, level, config, last=level == config.levels)
    return towers("ple", inputs, branches, config)
