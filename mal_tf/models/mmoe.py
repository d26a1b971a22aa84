"""Model `mmoe`: multi-gate mixture of experts (Ma et al., KDD '18, 10.1145/3219819.3220007)."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.layers.expert import Expert
from mal_tf.layers.gate import Gate
from mal_tf.models.config import MmoeConfig
from mal_tf.models.network import Network, click, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: MmoeConfig, targets: Sequence[str]) -> Network:
    """Experts shared by all targets. Each target mixes them by its own gate, followed by its tower."""
    inputs, x = click(spec, sizes, config)
    experts = [
        Expert(config.expert_units, senet_width=config.senet_width, name=f"expert_{number}")(x)
        for number in range(config.experts)
    ]
    vectors = {target: Gate(name=f"{target}_gate")((x, experts)) for target in targets}
    return towers("mmoe", inputs, vectors, config)
