"""Base of the configurations that are YAML files: overrides, paths relative to the file, errors that name the key."""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic
import yaml

from features.errors import MalTfError
from features.frozen import RESOLVE, Frozen, Name
from features.registry import OWN
from pipelines.core import files

_Config = TypeVar("_Config", bound="ConfigFile")  # `typing.Self` is there from Python 3.11 on.


class _Loader(yaml.SafeLoader):
    """Takes true and false for booleans, as YAML 1.2 does; on, off, yes and no are words, such as the key of a join."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class ConfigFile(Frozen):
    """A configuration that is a YAML file of its own.

    Attributes:
        name: of what it configures.
    """

    name: Name

    @classmethod
    def load(cls: type[_Config], path: str, overrides: Sequence[str] = ()) -> _Config:
        """Reads a file, on any filesystem Beam knows; its values of type `features.frozen.Path` are relative to its folder.

        Args:
            path: of the file.
            overrides: `a.b=c`, applied in order.

        Raises:
            MalTfError: what is wrong, with the place of each key.
        """
        return cls.from_data(cls.read(path, overrides), path)

    @classmethod
    def read(cls, path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """What stands in a file, not checked yet; arguments as in `load`."""
        if not files.exists(path):
            raise MalTfError(f"{path}: no such config file")
        if os.path.isdir(path):
            raise MalTfError(f"{path}: expected a config file, found a directory")
        try:
            data = yaml.load(files.read_bytes(path), _Loader)
        except yaml.YAMLError as error:
            raise MalTfError(f"{path}: not valid YAML: {error}") from error
        if not isinstance(data, dict):
            keys = ", ".join(list(cls.model_fields)[:3])
            raise MalTfError(f"{path}: expected a mapping of keys such as {keys}, …; found {type(data).__name__}")
        for override in overrides:
            _override(data, override)
        return data

    @classmethod
    def from_data(cls: type[_Config], data: dict[str, Any], path: str) -> _Config:
        """The configuration that `read` read from the file at `path`."""
        resolve = functools.partial(files.resolve, folder=files.folder(path))
        try:
            return cls.model_validate(data, context={RESOLVE: resolve})
        except pydantic.ValidationError as error:
            raise MalTfError(f"{path}:\n" + "\n".join(_describe(e, data) for e in error.errors())) from error

    def model_copy(self: _Config, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> _Config:
        """As pydantic's; cached properties are computed anew."""
        copied = super().model_copy(update=update, deep=deep)
        for key in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[key]
        return copied


def _override(data: dict, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise MalTfError(f"--set {override}: expected key=value, such as training.batch_size=512")
    *parents, last = path.split(".")
    place: Any = data
    try:
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        place[int(last) if isinstance(place, list) else last] = yaml.load(text, _Loader)
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise MalTfError(f"--set {override}: there is no such place in the config ({error})") from error


def _describe(error: Mapping[str, Any], data: Any) -> str:
    # pydantic puts the union's tag into the place; a reader of the file knows no such key.
    place, where = [], data
    for key in error["loc"]:
        if isinstance(where, dict) and key not in where and (key in where.values() or key == OWN):
            continue
        place.append(str(key))
        if isinstance(where, dict):
            where = where.get(key)
        else:  # What is validated may be longer than what was read: an entry with a `count` stands for many.
            listed = isinstance(where, list | tuple) and isinstance(key, int) and key < len(where)
            where = where[key] if listed else None
    message, found = error["msg"].removeprefix("Value error, "), error["input"]
    if error["type"] != "value_error" and isinstance(found, str | int | float):
        message += f"; found {found!r}"
    return f"  {'.'.join(place) or 'top level'}: {message}"
