"""Reading YAML 1.2 text by people: no key twice, no anchor within itself, nothing that expands beyond all bounds."""

import re
from typing import Any

import yaml

from features.errors import MalTfError

#: Largest number of keys and values of a document whose aliases are written out; real configs have hundreds.
_MAX_VALUES = 100_000

_BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float"))


class _Loader(yaml.SafeLoader):
    """Loader that reads scalars as YAML 1.2: on, off, yes and no are strings, and so are 12:30 and 0123."""

    def construct_object(self, node, deep=False):
        """Builds a value; a date or number that can't be is an error of the text, with its place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.constructor.ConstructorError(None, None, f"{error}", node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0b[01]+)", "-+0123456789"),
    (
        _FLOAT,
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))


def read(text: bytes | str, where: str) -> Any:
    """Reads a document. Values that an anchor shares are copies of each other.

    Args:
        text: the document.
        where: file or flag, for messages.

    Raises:
        MalTfError: the text is not YAML, has a key twice, or has an anchor that contains itself or expands too far.
    """
    try:
        loader = _Loader(text)
        loader.name = where
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return _copied(loader.construct_document(node))
    except yaml.YAMLError as error:
        raise MalTfError(f"{where}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise MalTfError(f"{where}: not valid YAML: nested too deeply") from error


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Counts the values below a node with its aliases written out, and checks its keys; 0 in `sizes` is of an open node."""
    if id(node) in sizes:
        if not (known := sizes[id(node)]):
            raise _error("an anchor contains an alias of itself", node)
        return known
    sizes[id(node)] = 0
    size = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size += sum(_size(key, sizes) + _size(value, sizes) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(item, sizes) for item in node.value)
    if size > _MAX_VALUES:
        raise _error(f"with its aliases written out it has more than {_MAX_VALUES:,} values", node)
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if first := seen.get((key.tag, key.value)):  # The same node, if an alias repeats it.
            again = f"key '{key.value}' is given twice, first in line {first.start_mark.line + 1}"
            raise _error(f"{again}; keep one", key)
        seen[key.tag, key.value] = key


def _error(message: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


def _copied(value: Any) -> Any:
    """The value without parts that are shared, so that an override changes one place only."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
