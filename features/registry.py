"""Kinds of things that a config names: classes that come with mal-tf by a short name, anybody's by import path."""

import difflib
import importlib
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union

import pydantic

from features.errors import MalTfError

#: How a config names a class of a user's own.
OWN = "package.module:Class"

Base = TypeVar("Base")
Model = TypeVar("Model", bound=pydantic.BaseModel)


def find(kind: str, known: Mapping[str, str | type[Base]], base: type, what: str) -> type[Base]:
    """The class that a config means.

    Args:
        kind: a key of `known`, or an import path such as `package.module:Class`.
        known: the classes that come with mal-tf, or their import paths, by name.
        base: what the class has to be a subclass of; it may be abstract, so not `type[Base]`, which takes concrete classes only.
        what: what it is, for messages.

    Raises:
        MalTfError: there is no such class, or it is none of these.
    """
    place = known.get(kind, kind)
    if isinstance(place, type):
        return place
    module, colon, name = place.partition(":")
    if not colon:
        nearest = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise MalTfError(f"unknown {what} '{kind}'; {hint}Known: {', '.join(known)}; your own is given as {OWN}")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MalTfError(
            f"{what} '{kind}' can't be imported: {error}. Install its package where the job runs; "
            f"looked in {', '.join(sys.path)}"
        ) from error
    fits = isinstance(cls, type) and issubclass(cls, base)
    if not fits:
        raise MalTfError(f"{what} '{kind}' is not a subclass of {base.__module__}.{base.__name__}")
    return cls


def block(known: Mapping[str, type[Model]], base: type, key: str, what: str) -> Any:
    """Type annotation of a config block whose `key` names its class.

    Args:
        known: pydantic models by the value of `key`.
        base: of them, and of users' own.
        key: the field that tells them apart.
        what: what the block is, for messages.
    """

    def tag(value: Any) -> str:
        kind: Any = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return kind if isinstance(kind, str) and kind in known else OWN

    def own(value: Any, info: pydantic.ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if not isinstance(kind := value.get(key), str):
            raise ValueError(f"{key} is missing: one of {', '.join(known)}, or {OWN} of your own")
        try:
            return find(kind, known, base, what).model_validate(value, context=info.context)
        except MalTfError as error:
            raise ValueError(str(error)) from error
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            raise ValueError(": ".join([".".join(map(str, first["loc"])) or kind, message])) from error

    branches = [Annotated[cls, pydantic.Tag(name)] for name, cls in known.items()]
    as_any: Any = pydantic.SerializeAsAny  # To type checkers it is an alias, which takes no variable.
    branches.append(Annotated[as_any[base], pydantic.BeforeValidator(own), pydantic.Tag(OWN)])
    return Annotated[Union[tuple(branches)], pydantic.Discriminator(tag)]  # noqa: UP007 - of as many as there are
