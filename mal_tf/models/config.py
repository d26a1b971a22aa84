"""Configuration of the models: a class for the keys that all models have, and subclasses for the keys of each model."""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pydantic

from features.errors import MalTfError
from features.frozen import NOT_EMPTY
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

#: Defaults under `compatibility: pymal`: architecture and sizes of the released code.
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

    The models in `name` and `compare_with` add their own keys. `ModelConfig(name="ple", …)` is a `PleConfig`; with
    `compare_with` the result has the keys of all these models (see `config_class`). A key that none of them uses is an error.

    Attributes:
        compatibility: `pymal` for the architecture of the papers' released code, alimama-tech/PyMAL, where it differs from
            the publication. It changes initial values and the defaults that docs/models.md lists, and simplifies `home`.
        embedding_dim: width of embeddings unless a feature sets its own.
        attention: how the click attends over its histories: `din` (activation unit) or `multi_head`.
        attention_units: hidden layers of the scoring network of `din`.
        attention_heads: number of heads of `multi_head`.
        query: scalar features whose concatenated and projected embeddings are the query of `multi_head`; when empty, the
            embedding of the feature that the history lists.
        mask_padding: whether padding and missing tokens of a history are left out of the attention.
        tiers: number of tiers in the histogram of similarities.
        layer_norm: whether the click's vector is normalised (epsilon 1e-5).
        cross_layers: number of DCN-v2 cross layers on the click's vector; 0 for none.
        senet: whether each expert, and the shared bottom, begins with squeeze-and-excitation.
        tower_units: hidden layers of each tower; the last is the width of the knowledge vector.
        two_class_softmax: whether heads have a logit per class, whose difference is the logit of the conversion.

    Example:
        >>> import mal_tf
        >>> mal_tf.ModelConfig(name="ple", primary="last", levels=1)  # doctest: +ELLIPSIS
        PleConfig(name='ple', compare_with=(), primary='last', ..., levels=1)
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
    tower_units: Annotated[_Units, NOT_EMPTY] = (64, 32)
    two_class_softmax: bool = False

    def __new__(cls, **keys):
        """Creates an object of the class that has the keys of the named models."""
        with contextlib.suppress(ValueError):  # The validation refuses an unknown model.
            cls = config_class(_names(keys)) if cls is ModelConfig else cls
        return super().__new__(cls)

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
        # In PyMAL, runs for the first-click target list it as its own auxiliary.
        if self.primary in self.listed and self.compatibility != "pymal":
            raise ValueError(f"'{self.primary}' is the primary target and can't be an auxiliary too")
        if self.query and self.attention == "din":
            raise ValueError(
                "query: attention 'din' always queries with the feature of the history; set attention to multi_head"
            )
        return self

    def check(self, spec: FeatureSpec, targets: Sequence[str]) -> None:
        """Checks that the configuration fits the features and targets.

        Args:
            spec: features.
            targets: mechanisms to learn; with `auto`, candidates.

        Raises:
            MalTfError: the primary or a listed auxiliary is not among `targets`, `query` names an unknown feature, a target has
                no category, or hashed features can't share a table, because their lookups differ in width.
        """
        self.check_targets(targets)
        scalars = [feature.name for feature in spec.scalars]
        if unknown := [name for name in self.query if name not in scalars]:
            available = ", ".join(scalars) or "none"
            raise MalTfError(f"model.query: no categorical or numeric feature '{unknown[0]}'; there are: {available}")
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
        """Configuration of a single model, with only its own keys; `name` need not be in `names`."""
        own = config_class((name,))
        keys = {key: getattr(self, key) for key in self.model_fields_set if key in own.model_fields}
        return own.model_validate(keys | {"name": name, "compare_with": ()})

    @property
    def senet_width(self) -> int | None:
        """Width of the chunks that SENET gates; None without SENET."""
        return self.embedding_dim if self.senet else None


class BottomConfig(ModelConfig):
    """Keys of models with a shared bottom.

    Attributes:
        bottom_units: hidden layers of the shared bottom.
    """

    bottom_units: _Units = (128, 64)


class CatConfig(ModelConfig):
    """Keys of models that can learn the CAT class.

    Attributes:
        cat: whether the CAT class is learned as well.
    """

    cat: bool = True

    @property
    def learns_cat(self) -> bool:
        """See base class."""
        return self.cat and not self.single_attribution


class ExpertsConfig(ModelConfig):
    """Keys of models with experts instead of a shared bottom.

    Attributes:
        expert_units: layers of each expert.
    """

    expert_units: Annotated[_Units, NOT_EMPTY] = (128, 64)


class MmoeConfig(ExpertsConfig):
    """Keys of `mmoe`.

    Attributes:
        experts: number of experts, shared by all targets.
    """

    experts: int = pydantic.Field(2, ge=1)


class OwnExpertsConfig(ExpertsConfig):
    """Keys of models with shared experts and experts of single targets.

    Attributes:
        shared_experts: number of experts that all targets share; in `home` each category has as many.
        own_experts: number of experts of each target.
    """

    shared_experts: int = pydantic.Field(1, ge=1)
    own_experts: int = pydantic.Field(1, ge=1)


class PleConfig(OwnExpertsConfig):
    """Keys of `ple`.

    Attributes:
        levels: number of levels of experts.
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


#: Classes of the built-in models. They are not in the modules of the models, so that reading a config needs no TensorFlow.
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
    """Returns a class that has the keys of all the named models.

    The keys of your own model are those of the class `Config` in its module, which is derived from a class of this module.
    Without such a class they are those of `base`.

    Raises:
        ValueError: a model is unknown, can't be imported, or has no function that builds it.
    """
    return _combined(tuple(dict.fromkeys(map(_own_class, names))))


def used_keys(keys: Mapping) -> dict:
    """Removes keys of other models from a configuration of an earlier version, in which every model had all keys."""
    used = config_class(_names(keys)).model_fields
    defined = {key for config in CONFIGS.values() for key in config.model_fields}
    return {key: value for key, value in keys.items() if key in used or key not in defined}


def _own_class(name: str) -> type[ModelConfig]:
    if name in CONFIGS:
        return CONFIGS[name]
    try:
        catalog.builder(catalog.check(name))
        own = getattr(catalog.module(name), "Config", BottomConfig)
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
    """Names of the models in a config that is not validated yet."""
    others = keys.get("compare_with", ())
    names = [
        keys.get("name", ModelConfig.model_fields["name"].default),
        *(others if isinstance(others, list | tuple) else []),
    ]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
