"""One line of JSON as Python objects whose numbers are the text that they have in the line."""

import json
from collections import Counter
from typing import Any

from pipelines.labels.sources import nested


class Unusable(ValueError):
    """A cell that is no value of its column."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"field '{name}': {reason}")
        self.reason = reason


class Twice:
    """Stands for a field that its object has more than once."""


def parsed(line: bytes) -> dict:
    """The object of a line; what is not UTF-8 is text that can't be encoded. Raises ValueError with the reason."""
    text = line.decode(errors="surrogateescape")
    try:
        whole = json.loads(text, parse_int=_integer, parse_float=str, parse_constant=str, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON object: {error}") from None
    if not isinstance(whole, dict):
        raise ValueError(f"not a JSON object but {kind_of(whole)}")
    return whole


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        whole |= {name: Twice() for name, count in counts.items() if count > 1}
    return whole


def look(value: Any, path: nested.Path) -> Any:
    """The value at a path of an object; None if there is none. Raises ValueError where something else stands on the way."""
    for depth, name in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Unusable(".".join(path[:depth]), f"expected an object, found {kind_of(value)}")
        value = value.get(name)
    return value


def _integer(digits: str) -> str:
    return "0" if digits == "-0" else digits


def text_of(name: str, value: Any) -> str | None:
    """The text of a single value. Raises ValueError if it is not UTF-8."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return value if value is None else value.encode().decode()
    except UnicodeEncodeError:
        raise Unusable(name, "not UTF-8") from None


def kind_of(value: Any) -> str:
    """What a value is, for messages."""
    kinds = {dict: "an object", list: "a list", type(None): "null", Twice: "more than one of the name"}
    return kinds.get(type(value), "a single value")
