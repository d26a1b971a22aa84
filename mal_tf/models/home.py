"""Model `home`: hierarchy of multi-gate experts (arXiv 2408.05430)."""

from collections.abc import Mapping, Sequence

from features.keras2 import tf
from features.spec import FeatureSpec
from mal_tf.layers.feature_gate import FeatureGate
from mal_tf.layers.gate import Gate, SelfGate
from mal_tf.models.config import HomeConfig
from mal_tf.models.extraction import SHARED, experts
from mal_tf.models.network import Network, click, towers


def build(spec: FeatureSpec, sizes: Mapping[str, int], config: HomeConfig, targets: Sequence[str]) -> Network:
    """Two levels of Swish(BatchNorm(MLP)) experts under a hierarchy mask, then a tower per target.

    Level 1 (meta): the shared experts and those of each category read the click. The branch of a category mixes the shared
    and its own experts, the shared branch mixes all. Level 2: shared, category and target experts read the meta vector of
    their branch. A target mixes the shared experts, those of its category and its own, never those of another category or
    target. Experts read their input through a feature gate. To each mixture, the branch's own experts are added through a
    self gate.

    With `compatibility: pymal` there is one level of plain experts behind feature gates, as in PyMAL. Gates read the ungated
    click, and the self gate, a softmax over a single logit, is 1.
    """
    inputs, x = click(spec, sizes, config)
    vectors = _gate_only(x, config, targets) if config.compatibility == "pymal" else _hierarchy(x, config, targets)
    return towers("home", inputs, vectors, config)


def _hierarchy(x: tf.Tensor, config: HomeConfig, targets: Sequence[str]) -> dict[str, tf.Tensor]:
    category = _category_branches(targets, config)
    groups = {name: _gated_experts(name, x, 1, config) for name in (SHARED, *dict.fromkeys(category.values()))}
    visible = {name: groups[SHARED] + own for name, own in groups.items() if name != SHARED}
    visible[SHARED] = [expert for own in groups.values() for expert in own]
    meta = {name: _mixed(f"{name}_meta", x, visible[name], groups[name]) for name in groups}
    groups = {name: _gated_experts(name, vector, 2, config) for name, vector in meta.items()}
    vectors = {}
    for target, name in category.items():
        own = _gated_experts(target, meta[name], 2, config)
        vectors[target] = _mixed(target, meta[name], groups[SHARED] + groups[name] + own, own)
    return vectors


def _gated_experts(branch: str, vector: tf.Tensor, level: int, config: HomeConfig) -> list[tf.Tensor]:
    gated = FeatureGate(config.gate_rank, name=f"{branch}_feature_gate_{level}")(vector)
    count = config.shared_experts if "." in branch else config.own_experts
    return experts(branch, gated, level, count, config, normalized=config.compatibility != "pymal")


def _mixed(branch: str, vector: tf.Tensor, visible: list[tf.Tensor], own: list[tf.Tensor]) -> tf.Tensor:
    gate = Gate(mixes_targets=branch.startswith(SHARED), name=f"{branch}_gate")
    return gate((vector, visible)) + SelfGate(name=f"{branch}_self_gate")((vector, own))


def _gate_only(x: tf.Tensor, config: HomeConfig, targets: Sequence[str]) -> dict[str, tf.Tensor]:
    shared, vectors = _gated_experts(SHARED, x, 1, config), {}
    for target in targets:
        own = _gated_experts(target, x, 1, config)
        vectors[target] = tf.add_n([Gate(name=f"{target}_gate")((x, shared + own)), *own])
    return vectors


def _category_branches(targets: Sequence[str], config: HomeConfig) -> dict[str, str]:
    """Name of the branch of each target's category. Names of mechanisms can't contain a dot."""
    groups = config.categories or {"all": tuple(targets)}
    branches = {target: f"category.{name}" for name, members in groups.items() for target in members}
    return {target: branches[target] for target in targets}
