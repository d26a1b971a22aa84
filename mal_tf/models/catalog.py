"""Models by name; a new one is a module and a line here."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from features.spec import FeatureSpec

if TYPE_CHECKING:  # The config looks names up here and must not wait for TensorFlow.
    from mal_tf.models.config import ModelConfig
    from mal_tf.models.network import Network

#: Module of each model; its function `build` makes the network.
MODELS = {
    "base": "mal_tf.models.base",
    "shared_bottom": "mal_tf.models.shared_bottom",
    "mmoe": "mal_tf.models.mmoe",
    "ple": "mal_tf.models.ple",
    "home": "mal_tf.models.home",
    "mal": "mal_tf.models.mal",
    "natal": "mal_tf.models.natal",
    "moae": "mal_tf.models.moae",
}


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
