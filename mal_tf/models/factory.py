"""Networks by the name of their model."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from features.spec import FeatureSpec
from mal_tf.models.catalog import MODELS

if TYPE_CHECKING:  # The config looks names up here and must not wait for TensorFlow.
    from mal_tf.models.config import ModelConfig
    from mal_tf.models.network import Network


def build(
    name: str, spec: FeatureSpec, sizes: Mapping[str, int], config: "ModelConfig", targets: Sequence[str]
) -> "Network":
    """Builds the model called `name`.

    Args:
        name: a key of `MODELS`.
        spec: features.
        sizes: rows of each embedding table (`features.lookup.table_sizes`).
        config: primary target, widths, ablations.
        targets: the primary and its auxiliaries, in configured order.

    Raises:
        MalTfError: see `ModelConfig.check`.
    """
    config.check(spec, targets)
    network = importlib.import_module(MODELS[name]).build(spec, sizes, config, targets)
    if config.compatibility == "pymal":
        from mal_tf.models.pymal_initial import initialize

        initialize(network.model)
    if not config.single_attribution:
        return network
    heads = tuple(dataclasses.replace(head, target=config.primary) for head in network.heads)
    return dataclasses.replace(network, heads=heads)
