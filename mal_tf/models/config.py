"""Configuration of the models: a class of keys that all models have, and one for each model's own."""

import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import pydantic

from features.errors import MalTfError
from features.spec import FeatureSpec
from mal_tf.models import catalog
from mal_tf.models.targets import AUTO, CAT, ModelName, TargetsConfig

__all__ = [
    "AUTO",
    "CAT",
    "CONFIGS",
    "PYMAL",
    "BottomConfig",
    "CatConfig",
    "ExpertsConfig",
    "HomeConfig",
    "MalConfig",
    "MmoeConfig",
    "MoaeConfig",
    "ModelConfig",
    "ModelName",
    "NatalConfig",
    "OwnExpertsConfig",
    "PleConfig",
    "config_class",
    "used_keys",
]

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


class ModelConfig(TargetsConfig):
    """Targets and architecture: the keys that every model has.

    What `name` and `compare_with` name adds keys: `ModelConfig(name="ple", …)` is a `PleConfig`, and with `compare_with` an
    object that has the keys of all these models (see `config_class`). A key that none of them uses is an error.

    Attributes:
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
        senet: whether each expert, and the shared bottom, begins with squeeze-and-excitation.
        tower_units: hidden layers of each tower; the last is the knowledge vector's width.
        two_class_softmax: heads have a logit per class; their difference is the logit of the conversion.
    """

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
    senet: bool = False
    tower_units: _Units = pydantic.Field((64, 32), min_length=1)
    two_class_softmax: bool = False

    def __new__(cls, **keys):
        """An object of the class that has the keys of the models."""
        return super().__new__(config_class(_names(keys)) if cls is ModelConfig else cls)

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _with_keys_of_its_models(cls, data, handler, info):
        if cls is ModelConfig and isinstance(data, dict):
            return config_class(_names(data)).model_validate(data, context=info.context)
        return handler(data)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _preset(cls, data):
        if not isinstance(data, dict):
            return data
        for key in data:
            if key not in cls.model_fields and (
                users := [model for model, own in CONFIGS.items() if key in own.model_fields]
            ):
                raise ValueError(
                    f"'{key}' has no effect on {', '.join(_names(data))}: it is a key of {', '.join(users)}; remove it, or "
                    "train one of these (name, compare_with)"
                )
        preset = PYMAL if data.get("compatibility") == "pymal" else {}
        return {key: value for key, value in preset.items() if key in cls.model_fields} | data

    @pydantic.model_validator(mode="after")
    def _fits_together(self):
        # PyMAL's runs for the first-click target list it as its own auxiliary.
        if self.primary in self.listed and self.compatibility != "pymal":
            raise ValueError(f"'{self.primary}' is the primary target and can't be an auxiliary too")
        if self.query and self.attention == "din":
            raise ValueError(
                "query: attention 'din' asks with the remembered feature alone; set attention to multi_head"
            )
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
        scalars = [feature.name for feature in spec.scalars]
        if unknown := [name for name in self.query if name not in scalars]:
            there = ", ".join(scalars) or "none"
            raise MalTfError(f"model.query: no categorical or numeric feature '{unknown[0]}'; there are: {there}")
        tables = {f.name: (f.embedding_dim or self.embedding_dim, f.hash_lookups) for f in spec.categorical}
        hashed = {name: (width, lookups) for name, (width, lookups) in tables.items() if lookups}
        widths = {width / lookups for width, lookups in hashed.values()}
        if len(widths) > 1 or any(width % 1 for width in widths):
            shares = ", ".join(f"{name} {width} / {lookups}" for name, (width, lookups) in hashed.items())
            raise MalTfError(
                "hashed features share one table: expected embedding_dim / hash_lookups to be a whole number, the same for "
                f"all; found {shares}"
            )

    def alone(self, name: str) -> "ModelConfig":
        """The configuration of one model, with its own keys only; it need not be one of `names`."""
        own = config_class((name,))
        keys = {key: getattr(self, key) for key in self.model_fields_set if key in own.model_fields}
        return own.model_validate(keys | {"name": name, "compare_with": ()})

    @property
    def senet_width(self) -> int | None:
        """Width of the chunks that SENET gates; absent without SENET."""
        return self.embedding_dim if self.senet else None


class BottomConfig(ModelConfig):
    """Keys of models on a shared bottom.

    Attributes:
        bottom_units: hidden layers of the shared bottom.
    """

    bottom_units: _Units = (128, 64)


class CatConfig(ModelConfig):
    """Keys of models that can learn the CAT class.

    Attributes:
        cat: whether the CAT class is learned too.
    """

    cat: bool = True

    @property
    def learns_cat(self) -> bool:
        """See base class."""
        return self.cat and not self.single_attribution


class ExpertsConfig(ModelConfig):
    """Keys of models with experts, which take the shared bottom's place.

    Attributes:
        expert_units: layers of each expert.
    """

    expert_units: _Units = pydantic.Field((128, 64), min_length=1)


class MmoeConfig(ExpertsConfig):
    """Keys of `mmoe`.

    Attributes:
        experts: how many, shared by all targets.
    """

    experts: int = pydantic.Field(2, ge=1)


class OwnExpertsConfig(ExpertsConfig):
    """Keys of models with shared experts and experts of single targets.

    Attributes:
        shared_experts: how many all targets share; in `home` each category has as many.
        own_experts: how many each target has for itself.
    """

    shared_experts: int = pydantic.Field(1, ge=1)
    own_experts: int = pydantic.Field(1, ge=1)


class PleConfig(OwnExpertsConfig):
    """Keys of `ple`.

    Attributes:
        levels: how many levels of experts.
    """

    levels: int = pydantic.Field(2, ge=1)


class HomeConfig(OwnExpertsConfig):
    """Keys of `home`.

    Attributes:
        categories: mechanisms by category, such as `{single_touch: [first, last], multi_touch: [linear, mta]}`; one
            category of all when empty.
        gate_rank: rank of the feature gates.
    """

    categories: dict[str, tuple[str, ...]] = {}
    gate_rank: int = pydantic.Field(4, ge=1)

    @pydantic.field_validator("categories")
    @classmethod
    def _disjoint(cls, categories):
        grouped = [target for members in categories.values() for target in members]
        if len(set(grouped)) < len(grouped):
            raise ValueError(f"each target has one category; found {', '.join(grouped)}")
        return categories

    def check(self, spec: FeatureSpec, targets: Sequence[str]) -> None:
        """See base class."""
        super().check(spec, targets)
        grouped = [target for members in self.categories.values() for target in members]
        if self.categories and (missing := [target for target in targets if target not in grouped]):
            groups = ", ".join(self.categories)
            raise MalTfError(f"model.categories: none has target '{missing[0]}'; categories: {groups}")


class NatalConfig(BottomConfig, CatConfig):
    """Keys of `natal`."""


class MalConfig(NatalConfig):
    """Keys of `mal`.

    Attributes:
        fusion_units: hidden layers of the knowledge fusion's MLP, before its output.
    """

    fusion_units: _Units = (64,)


class MoaeConfig(OwnExpertsConfig, CatConfig):
    """Keys of `moae`."""


#: Keys of the models of mal-tf: here, not in the models' modules, so that reading a config does not import TensorFlow.
CONFIGS: dict[str, type[ModelConfig]] = {
    "base": BottomConfig,
    "shared_bottom": BottomConfig,
    "mmoe": MmoeConfig,
    "ple": PleConfig,
    "home": HomeConfig,
    "mal": MalConfig,
    "natal": NatalConfig,
    "moae": MoaeConfig,
}


def config_class(names: Sequence[str]) -> type[ModelConfig]:
    """The class that has the keys of all the named models.

    A model of your own has those of the class `Config` in its module, derived from one of this module's; without such a class
    it has `base`'s.

    Raises:
        ValueError: a model is unknown or can't be imported.
    """
    return _combined(tuple(dict.fromkeys(map(_own_class, names))))


def used_keys(keys: Mapping) -> dict:
    """The keys that the named models use, of a configuration that an earlier version wrote, whose models had all keys."""
    own = config_class(_names(keys)).model_fields
    others = {key for other in CONFIGS.values() for key in other.model_fields}
    return {key: value for key, value in keys.items() if key in own or key not in others}


def _own_class(name: str) -> type[ModelConfig]:
    if name in CONFIGS:
        return CONFIGS[name]
    try:
        own = getattr(catalog.module(catalog.check(name)), "Config", BottomConfig)
    except MalTfError as error:
        raise ValueError(str(error)) from error
    if not (isinstance(own, type) and issubclass(own, ModelConfig)):
        raise ValueError(
            f"model '{name}': expected its Config to be derived from {__name__}.ModelConfig, found {own!r}"
        )
    return own


@functools.cache
def _combined(classes: tuple[type[ModelConfig], ...]) -> type[ModelConfig]:
    bases = [one for one in classes if not any(one is not other and issubclass(other, one) for other in classes)]
    if len(bases) < 2:
        return bases[0] if bases else BottomConfig
    return pydantic.create_model("ModelConfig", __base__=tuple(bases))


def _names(keys: Mapping) -> list[str]:
    """Models that a config names, before it is checked."""
    others = keys.get("compare_with", ())
    names = [
        keys.get("name", ModelConfig.model_fields["name"].default),
        *(others if isinstance(others, list | tuple) else []),
    ]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
