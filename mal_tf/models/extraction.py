"""Extraction levels of PLE: shared experts and experts of each target, mixed by gates."""

from collections.abc import Mapping

from features.keras2 import tf
from mal_tf.layers.expert import Expert
from mal_tf.layers.gate import Gate
from mal_tf.models.config import OwnExpertsConfig

#: Name of the branch of the shared experts. Names of mechanisms can't contain a dot.
SHARED = "all.shared"


def experts(
    branch: str, vector: tf.Tensor, level: int, count: int, config: OwnExpertsConfig, **options
) -> list[tf.Tensor]:
    """Applies a branch's experts of one level to a vector. Only level 1 reads embeddings, which SENET needs.

    Args:
        branch: name of the branch.
        vector: float [batch, any].
        level: number of the level, from 1.
        count: number of experts.
        config: sizes.
        **options: further arguments of `Expert`.

    Returns:
        Outputs of the experts, each float [batch, config.expert_units[-1]].
    """
    return [
        Expert(
            config.expert_units,
            senet_width=config.senet_width if level == 1 else None,
            name=f"{branch}_expert_{level}_{number}",
            **options,
        )(vector)
        for number in range(count)
    ]


def extract(
    branches: Mapping[str, tf.Tensor], level: int, config: OwnExpertsConfig, last: bool
) -> dict[str, tf.Tensor]:
    """Applies one level: the gate of each target mixes the shared and its own experts, the shared gate all experts.

    Experts and gate of a branch read the vector of that branch from the level before.

    Args:
        branches: float [batch, any] by target, and for `SHARED`.
        level: number of the level, from 1.
        config: sizes.
        last: whether this is the last level, which has no shared gate.

    Returns:
        Branches for the next level; without `SHARED` after the last level.
    """
    by_branch = {
        name: experts(name, vector, level, config.shared_experts if name == SHARED else config.own_experts, config)
        for name, vector in branches.items()
    }
    mixed = {
        name: Gate(name=f"{name}_gate_{level}")((branches[name], by_branch[SHARED] + by_branch[name]))
        for name in branches
        if name != SHARED
    }
    if not last:
        all_experts = [expert for own in by_branch.values() for expert in own]
        mixed[SHARED] = Gate(mixes_targets=True, name=f"{SHARED}_gate_{level}")((branches[SHARED], all_experts))
    return mixed
