"""Factory that builds the network of a model by its name."""

import dataclasses
from collections.abc import Mapping, Sequence

from features.spec import FeatureSpec
from mal_tf.models import catalog
from mal_tf.models.config import ModelConfig
from mal_tf.models.network import Network
from mal_tf.models.pymal_initial import initialize


def build(
    name: str, spec: FeatureSpec, sizes: Mapping[str, int], config: ModelConfig, targets: Sequence[str]
) -> Network:
    """Builds the network of a model.

    Args:
        name: a name in `mal_tf.models.catalog.MODELS`, or an import path.
        spec: features.
        sizes: rows of each embedding table (`features.lookup.table_sizes`).
        config: primary target, widths, ablations; keys of other models are ignored.
        targets: the primary and its auxiliaries, in configured order.

    Raises:
        MalTfError: there is no such model; see also `ModelConfig.check`.
    """
    config = config.alone(name)
    config.check(spec, targets)
    network = catalog.builder(name)(spec, sizes, config, targets)
    if config.compatibility == "pymal":
        initialize(network.model)
    if not config.single_attribution:
        return network
    heads = tuple(dataclasses.replace(head, target=config.primary) for head in network.heads)
    return dataclasses.replace(network, heads=heads)
