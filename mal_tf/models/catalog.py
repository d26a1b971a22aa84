"""Models by name; a new one is a module and a line here."""

from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models import base, mal
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network

_BUILDERS = {"base": base.build, "mal": mal.build}


def build(
    name: str, spec: FeatureSpec, sizes: Mapping[str, int], config: ModelConfig, targets: Sequence[str]
) -> Network:
    """Builds the model called `name`.

    Args:
        name: `base`, `mal`.
        spec: features.
        sizes: rows of each scalar feature's embedding table (`features.lookup.table_sizes`).
        config: primary target and widths.
        targets: the primary and its auxiliaries, in configured order.
    """
    return _BUILDERS[name](spec, sizes, config, targets)
