"""Configuration of the models."""

from collections.abc import Sequence
from typing import Literal

import pydantic

from features.frozen import Frozen

ModelName = Literal["base", "mal"]

_Units = tuple[pydantic.PositiveInt, ...]


class ModelConfig(Frozen):
    """Targets and architecture.

    Attributes:
        name: the model to serve.
        compare_with: further models to train and evaluate beside it.
        primary: the mechanism whose label is predicted in serving.
        auxiliaries: mechanisms learned beside it; all others when absent.
        cat: `mal` only: whether the AKA has the CAT tower.
        single_attribution: `mal` only, an ablation: all towers learn the primary label.
        embedding_dim: width of embeddings unless a feature says otherwise.
        attention_units: hidden layers of the target attention's scoring network.
        cross_layers: DCN-v2 cross layers on the concatenated embeddings; 0 for none.
        bottom_units: hidden layers of the shared bottom.
        tower_units: hidden layers of each tower; the last is the knowledge vector's width.
        fusion_units: hidden layers of the knowledge fusion's MLP, before its output.
    """

    name: ModelName = "mal"
    compare_with: tuple[ModelName, ...] = ()
    primary: str
    auxiliaries: tuple[str, ...] | None = None
    cat: bool = True
    single_attribution: bool = False
    embedding_dim: int = pydantic.Field(16, ge=1)
    attention_units: _Units = (32,)
    cross_layers: int = pydantic.Field(0, ge=0)
    bottom_units: _Units = (128, 64)
    tower_units: _Units = pydantic.Field((64, 32), min_length=1)
    fusion_units: _Units = (64,)

    @pydantic.model_validator(mode="after")
    def _targets_differ(self):
        if self.primary in (self.auxiliaries or ()):
            raise ValueError(f"'{self.primary}' is the primary target and can't be an auxiliary too")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All models to train: the served one first."""
        return tuple(dict.fromkeys((self.name, *self.compare_with)))

    def targets(self, mechanisms: Sequence[str]) -> tuple[str, ...]:
        """The primary and its auxiliaries, in the order of `mechanisms`."""
        chosen = mechanisms if self.auxiliaries is None else (self.primary, *self.auxiliaries)
        return tuple(name for name in mechanisms if name in chosen)
