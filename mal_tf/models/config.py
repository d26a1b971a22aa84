"""Configuration of the models."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from features.errors import MalTfError
from features.frozen import Frozen
from features.spec import FeatureSpec
from mal_tf.models.catalog import MODELS

#: Target of a head that predicts the CAT class of all targets.
CAT = "cat"


def _known(name: str) -> str:
    if name not in MODELS:
        raise ValueError(f"unknown model '{name}'; there are: {', '.join(MODELS)}")
    return name


ModelName = Annotated[str, pydantic.AfterValidator(_known)]

#: Auxiliaries that are chosen by measurement (`mal_tf.training.auxiliaries`).
AUTO = "auto"


def _named_or_auto(value):
    if isinstance(value, str) and value != AUTO:
        raise ValueError(f"expected a list of mechanisms or '{AUTO}', found '{value}'")
    return value


_Units = tuple[pydantic.PositiveInt, ...]

#: What `compatibility: pymal` sets where the config says nothing else: the released code's architecture and sizes.
PYMAL = {
    "attention": "multi_head",
    "mask_padding": False,
    "layer_norm": True,
    "senet": True,
    "two_class_softmax": True,
    "bottom_units": (256,),
    "expert_units": (256,),
    "levels": 1,
    "tower_units": (128, 64, 32),
}


class ModelConfig(Frozen):
    """Targets and architecture. A key that a model has no use for is ignored by it; docs/models.md says which use what.

    Attributes:
        name: the model to serve.
        compare_with: further models to train and evaluate beside it.
        primary: the mechanism whose label is predicted in serving.
        auxiliaries: mechanisms learned beside it; all others when absent; `auto`: those that help to predict the
            primary (`mal_tf.training.auxiliaries`).
        cat: `mal`, `natal`, `moae`: whether the CAT class is learned too.
        single_attribution: an ablation: all towers learn the primary label, and there is no CAT tower.
        compatibility: `pymal`: the architecture of the papers' released code, alimama-tech/PyMAL, where it differs from
            what was published; sets the defaults of the keys that docs/models.md names and the initial values, and simplifies
            `home`.
        embedding_dim: width of embeddings unless a feature says otherwise.
        attention: how the click attends over its histories: `din` (activation unit) or `multi_head`.
        attention_units: `din`: hidden layers of the scoring network.
        attention_heads: `multi_head`: how many.
        query: `multi_head`: scalar features whose embeddings together, projected, are the query; when empty, the
            embedding of the feature that the history is of.
        mask_padding: whether padding and missing tokens of a history are left out of the attention.
        tiers: of the histogram of similarities.
        layer_norm: normalise the click's vector (epsilon 1e-5).
        cross_layers: DCN-v2 cross layers on the click's vector; 0 for none.
        bottom_units: `base`, `shared_bottom`, `mal`, `natal`: hidden layers of the shared bottom.
        expert_units: `mmoe`, `ple`, `home`, `moae`: layers of each expert; experts take the shared bottom's place.
        senet: whether each expert, and the shared bottom, begins with squeeze-and-excitation.
        experts: `mmoe`: how many.
        shared_experts: `ple`, `home`, `moae`: how many all targets share; in `home` each category has as many.
        own_experts: `ple`, `home`, `moae`: how many each target has for itself.
        levels: `ple`: how many levels of experts.
        categories: `home`: mechanisms by category, such as `{single_touch: [first, last], multi_touch: [linear, mta]}`;
            one category of all when empty.
        gate_rank: `home`: rank of the feature gates.
        tower_units: hidden layers of each tower; the last is the knowledge vector's width.
        fusion_units: `mal`: hidden layers of the knowledge fusion's MLP, before its output.
        two_class_softmax: heads have a logit per class; their difference is the logit of the conversion.
    """

    name: ModelName = "mal"
    compare_with: tuple[ModelName, ...] = ()
    primary: str
    auxiliaries: Annotated[tuple[str, ...] | Literal["auto"] | None, pydantic.BeforeValidator(_named_or_auto)] = None
    cat: bool = True
    single_attribution: bool = False
    compatibility: Literal["pymal"] | None = None
    embedding_dim: int = pydantic.Field(16, ge=1)
    attention: Literal["din", "multi_head"] = "din"
    attention_units: _Units = (32,)
    attention_heads: int = pydantic.Field(4, ge=1)
    query: tuple[str, ...] = ()
    mask_padding: bool = True
    tiers: int = pydantic.Field(32, ge=2, multiple_of=2)
    layer_norm: bool = False
    cross_layers: int = pydantic.Field(0, ge=0)
    bottom_units: _Units = (128, 64)
    expert_units: _Units = pydantic.Field((128, 64), min_length=1)
    senet: bool = False
    experts: int = pydantic.Field(2, ge=1)
    shared_experts: int = pydantic.Field(1, ge=1)
    own_experts: int = pydantic.Field(1, ge=1)
    levels: int = pydantic.Field(2, ge=1)
    categories: dict[str, tuple[str, ...]] = {}
    gate_rank: int = pydantic.Field(4, ge=1)
    tower_units: _Units = pydantic.Field((64, 32), min_length=1)
    fusion_units: _Units = (64,)
    two_class_softmax: bool = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _preset(cls, data):
        if isinstance(data, dict) and data.get("compatibility") == "pymal":
            return PYMAL | data
        return data

    @pydantic.model_validator(mode="after")
    def _fits_together(self):
        # PyMAL's runs for the first-click target list it as its own auxiliary.
        if self.primary in self.listed and self.compatibility != "pymal":
            raise ValueError(f"'{self.primary}' is the primary target and can't be an auxiliary too")
        if self.query and self.attention == "din":
            raise ValueError(
                "query: attention 'din' asks with the remembered feature alone; set attention to multi_head"
            )
        grouped = [target for members in self.categories.values() for target in members]
        if len(set(grouped)) < len(grouped):
            raise ValueError(f"categories: each target has one category; found {', '.join(grouped)}")
        return self

    def check(self, spec: FeatureSpec, targets: Sequence[str]) -> None:
        """Refuses names that the features and targets do not have, and hashed features that can't share a table.

        Args:
            spec: features.
            targets: what is learned, or with `auto` may be.

        Raises:
            MalTfError: `query` names an unknown feature, no category has one of the targets, or the lookups of hashed
                features are not of one whole width.
        """
        known = [feature.name for feature in spec.scalars]
        if unknown := [name for name in self.query if name not in known]:
            there = ", ".join(known) or "none"
            raise MalTfError(f"model.query: no categorical or numeric feature '{unknown[0]}'; there are: {there}")
        grouped = [target for members in self.categories.values() for target in members]
        if self.categories and (missing := [target for target in targets if target not in grouped]):
            groups = ", ".join(self.categories)
            raise MalTfError(f"model.categories: none has target '{missing[0]}'; categories: {groups}")
        hashed = [(f, f.embedding_dim or self.embedding_dim) for f in spec.categorical if f.hash_lookups]
        widths = {width / feature.hash_lookups for feature, width in hashed}
        if len(widths) > 1 or any(width % 1 for width in widths):
            found = ", ".join(f"{feature.name} {width} / {feature.hash_lookups}" for feature, width in hashed)
            raise MalTfError(
                "hashed features share one table: expected embedding_dim / hash_lookups to be a whole number, the same for "
                f"all; found {found}"
            )

    @property
    def listed(self) -> tuple[str, ...]:
        """The auxiliaries that the config names."""
        return () if self.auxiliaries in (None, AUTO) else self.auxiliaries

    @property
    def names(self) -> tuple[str, ...]:
        """All models to train: the served one first."""
        return tuple(dict.fromkeys((self.name, *self.compare_with)))

    def alone(self, name: str) -> "ModelConfig":
        """The configuration of one of the models."""
        return self.model_copy(update={"name": name, "compare_with": ()})

    @property
    def learns_cat(self) -> bool:
        """Whether models that can learn the CAT class do."""
        return self.cat and not self.single_attribution

    @property
    def senet_width(self) -> int | None:
        """Width of the chunks that SENET gates; absent without SENET."""
        return self.embedding_dim if self.senet else None

    def targets(self, mechanisms: Sequence[str]) -> tuple[str, ...]:
        """The primary and its auxiliaries, in the order of `mechanisms`.

        Raises:
            MalTfError: the auxiliaries are `auto` and were not chosen yet.
        """
        if self.auxiliaries == AUTO:
            raise MalTfError(
                "model.auxiliaries: auto: choose them first (mal_tf.training.auxiliaries.choose_auxiliaries)"
            )
        chosen = mechanisms if self.auxiliaries is None else (self.primary, *self.auxiliaries)
        return tuple(name for name in mechanisms if name in chosen)

    def auxiliary_views(self, targets: Sequence[str]) -> tuple[str, ...]:
        """What `natal` and `moae` learn beside the primary: the other `targets`, in their order, then `CAT`."""
        views = tuple(name for name in targets if name != self.primary or name in self.listed)
        return (*views, CAT) if self.learns_cat else views
