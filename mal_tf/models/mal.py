"""Model `mal`: multi-attribution learning as published (arXiv 2508.15217)."""

from collections.abc import Mapping, Sequence

from features.keras2 import keras
from features.spec import FeatureSpec
from mal_tf.layers.tower import MLP, KnowledgeFusion
from mal_tf.models.config import CAT, MalConfig
from mal_tf.models.network import Head, Network, bottom, cat_logits, concatenated, logit


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: MalConfig, targets: Sequence[str]) -> Network:
    """Attribution knowledge aggregator (AKA) and primary target predictor (PTP) on a shared bottom.

    AKA: a tower per target, including the primary, each with a logit, and with `cat` a tower whose softmax predicts the CAT
    class of all targets. K is the concatenation of the towers' last hidden activations, the knowledge vectors.
    PTP: v_p = MLP(bottom); v = v_p + MLP(K); logit of v.

    The outputs of the AKA are named `aka_<target>` and `aka_cat`, that of the PTP like the primary target. With
    `single_attribution` every AKA tower learns the primary label (see `factory.build`), and there is no CAT tower.
    """
    inputs, v = bottom(spec, sizes, config)
    primary = config.primary
    outputs, heads, knowledge = {}, [Head(primary, primary, primary=True)], []
    for target in targets:
        name = f"aka_{target}"
        knowledge.append(MLP(config.tower_units, name=f"{name}_tower")(v))
        outputs[name] = logit(knowledge[-1], name, config)
        heads.append(Head(name, target))
    if config.learns_cat:
        knowledge.append(MLP(config.tower_units, name="aka_cat_tower")(v))
        outputs["aka_cat"] = cat_logits(knowledge[-1], "aka_cat", targets)
        heads.append(Head("aka_cat", CAT))
    k = concatenated(knowledge, "knowledge")
    v_p = MLP(config.tower_units, name=f"{primary}_tower")(v)
    fused = KnowledgeFusion(config.fusion_units, name="fusion")((v_p, k))
    outputs = {primary: logit(fused, primary, config), **outputs}
    return Network(keras.Model(inputs, outputs, name="mal"), tuple(heads))
