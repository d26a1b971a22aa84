"""Extraction: a level of shared and own experts, as PLE stacks them."""

from collections.abc import Mapping

from features.keras2 import tf
from mal_tf.layers.expert import Expert
from mal_tf.layers.gate import Gate
from mal_tf.models.config import OwnExpertsConfig

#: The branch of the shared experts. No mechanism can have a dot in its name.
SHARED = "all.shared"


def experts(
    branch: str, vector: tf.Tensor, level: int, count: int, config: OwnExpertsConfig, **options
) -> list[tf.Tensor]:
    """A branch's experts of one level, on one vector; `options` are `Expert`'s. Only level 1 has embeddings for SENET."""
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
    """One level: each target's gate mixes the shared and its own experts, the shared gate all of them.

    Experts and gate of a branch read that branch's vector of the level before.

    Args:
        branches: by target float [batch, any], with one more branch, `SHARED`.
        level: counted from 1.
        config: sizes.
        last: whether no level follows; then there is no shared gate.

    Returns:
        The next level's branches, after the last level without `SHARED`.
    """
    made = {
        name: experts(name, vector, level, config.shared_experts if name == SHARED else config.own_experts, config)
        for name, vector in branches.items()
    }
    mixed = {
        name: Gate(name=f"{name}_gate_{level}")((branches[name], made[SHARED] + made[name]))
        for name in branches
        if name != SHARED
    }
    if not last:
        everyone = [expert for of_branch in made.values() for expert in of_branch]
        mixed[SHARED] = Gate(mixes_targets=True, name=f"{SHARED}_gate_{level}")((branches[SHARED], everyone))
    return mixed
