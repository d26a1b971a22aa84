"""Auxiliary towers that are fused into the primary tower level by level, as in NATAL and MoAE."""

from collections.abc import Mapping, Sequence

from features.keras2 import keras, tf
from mal_tf.layers.tower_fusion import TowerFusion
from mal_tf.models.config import CAT, ModelConfig
from mal_tf.models.network import Head, Network, cat_logits, logit


def fused_towers(
    name: str,
    inputs: Mapping[str, tf.Tensor],
    vectors: Mapping[str, tf.Tensor],
    config: ModelConfig,
    targets: Sequence[str],
) -> Network:
    """Builds a tower per view. Each layer of the primary tower also reads that layer of all others (`TowerFusion`).

    There is no stop-gradient, so the primary loss trains the auxiliary towers too.

    Args:
        name: name of the model.
        inputs: inputs of the network, by feature name.
        vectors: float [batch, any] by view: the primary target and `config.auxiliary_views`. A primary that is its own
            auxiliary (PyMAL) has one tower for both.
        config: primary target and widths.
        targets: mechanisms of the CAT class.
    """
    primary, views = config.primary, config.auxiliary_views(targets)
    layers = {
        view: [keras.layers.Dense(n, name=f"{view}_tower_{level}") for level, n in enumerate(config.tower_units, 1)]
        for view in dict.fromkeys((primary, *views))
    }
    knowledge = {view: [vectors[view]] for view in views}
    for view, activations in knowledge.items():
        for layer in layers[view]:
            activations.append(tf.nn.relu(layer(activations[-1])))
    fused = vectors[primary]
    for level, layer in enumerate(layers[primary], 1):
        auxiliary = [knowledge[view][level] for view in views]
        fused = TowerFusion(name=f"fusion_{level}")((layer(fused), auxiliary))
    outputs = {primary: logit(fused, primary, config)}
    for view in views:
        if view == CAT:
            outputs[view] = cat_logits(knowledge[view][-1], view, targets)
        elif view != primary:
            outputs[view] = logit(knowledge[view][-1], view, config)
    heads = (Head(primary, primary, primary=True), *(Head(view, view) for view in views))
    return Network(keras.Model(inputs, outputs, name=name), heads)
