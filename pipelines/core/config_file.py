"""Base class of configurations stored as YAML files, with overrides, paths relative to the file, and errors that name the key."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from features.errors import MalTfError
from features.frozen import RESOLVE, Frozen, Name
from features.registry import OWN
from pipelines.core import files, yaml_text

_Config = TypeVar("_Config", bound="ConfigFile")  # `typing.Self` needs Python 3.11.


class ConfigFile(Frozen):
    """A configuration stored in a YAML file of its own.

    Attributes:
        name: name of what is configured.
    """

    name: Name

    @classmethod
    def load(cls: type[_Config], path: str, overrides: Sequence[str] = ()) -> _Config:
        """Reads and validates a config file on any filesystem that Beam supports.

        Values of type `features.frozen.Path` are resolved relative to the file's folder.

        Args:
            path: path of the file.
            overrides: assignments `a.b=c`, applied in order.

        Raises:
            MalTfError: the file is missing, is not YAML, or has invalid values; the message names each key.
        """
        return cls.from_data(cls.read(path, overrides), path)

    @classmethod
    def read(cls, path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Reads a file and applies overrides without validating the result; arguments as in `load`."""
        if not files.exists(path):
            raise MalTfError(f"{path}: no such config file")
        if os.path.isdir(path):
            raise MalTfError(f"{path}: expected a config file, found a directory")
        data = yaml_text.read(files.read_bytes(path), path)
        if not isinstance(data, dict):
            keys = ", ".join(list(cls.model_fields)[:3])
            raise MalTfError(f"{path}: expected a mapping of keys such as {keys}, …; found {type(data).__name__}")
        for override in overrides:
            _override(data, override)
        return data

    @classmethod
    def from_data(cls: type[_Config], data: dict[str, Any], path: str) -> _Config:
        """Validates data that `read` returned for the file at `path`."""
        resolve = functools.partial(files.resolve, folder=files.folder(path))
        try:
            return cls.model_validate(data, context={RESOLVE: resolve})
        except pydantic.ValidationError as error:
            raise MalTfError(f"{path}:\n" + "\n".join(_describe(e, data) for e in error.errors())) from error

    def model_copy(self: _Config, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> _Config:
        """Same as pydantic's `model_copy`, but drops cached properties so that they are recomputed."""
        copied = super().model_copy(update=update, deep=deep)
        for key in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[key]
        return copied


def _override(data: dict, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise MalTfError(f"--set {override}: expected key=value, such as training.batch_size=512")
    value = yaml_text.read(text, f"--set {path}")
    *parents, last = path.split(".")
    node: Any = data
    try:
        for depth, key in enumerate(parents):
            if isinstance(node, list):
                node = node[_place(key, node, parents[:depth])]
            else:
                node[key] = node = {} if (inner := node.get(key)) is None else inner
        node[_place(last, node, parents) if isinstance(node, list) else last] = value
    except (ValueError, AttributeError, TypeError) as error:
        raise MalTfError(f"--set {override}: the config has no such key ({error})") from error


def _place(key: str, items: list, parents: Sequence[str]) -> int:
    """Returns the place that a key names in the list under `parents`."""
    if not key.isdecimal():
        raise ValueError(f"expected the place of an item in a list, from 0, found '{key}'")
    if int(key) >= len(items):
        places = f"0 to {len(items) - 1}" if items else "none"
        raise ValueError(f"'{'.'.join(parents)}' is a list of {len(items):,}, whose places are {places}; found {key}")
    return int(key)


def _describe(error: Mapping[str, Any], data: Any) -> str:
    """Formats a validation error as a line with its key in the file."""
    # pydantic's location includes the tag of a union, which is not a key of the file.
    keys, node = [], data
    for key in error["loc"]:
        if isinstance(node, dict) and key not in node and (key in node.values() or key == OWN):
            continue
        keys.append(str(key))
        if isinstance(node, dict):
            node = node.get(key)
        else:  # The validated list may be longer than the one in the file, where an entry with a `count` stands for many.
            listed = isinstance(node, list | tuple) and isinstance(key, int) and key < len(node)
            node = node[key] if listed else None
    message, value = error["msg"].removeprefix("Value error, "), error["input"]
    if error["type"] != "value_error" and isinstance(value, str | int | float):
        message += f"; found {value!r}"
    return f"  {'.'.join(keys) or 'top level'}: {message}"
