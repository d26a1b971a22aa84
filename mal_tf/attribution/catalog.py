"""Catalog of attribution mechanisms: built-in and registered ones by name, any other by import path."""

import inspect
from collections.abc import Callable
from typing import TypeVar

from features.errors import MalTfError
from features.registry import find
from mal_tf.attribution.mechanism import Mechanism, mechanism_errors

#: Import paths of the built-in mechanisms by their name in configs.
MECHANISMS = {
    "first": "mal_tf.attribution.rules:First",
    "last": "mal_tf.attribution.rules:Last",
    "linear": "mal_tf.attribution.rules:Linear",
    "position": "mal_tf.attribution.rules:Position",
    "time_decay": "mal_tf.attribution.rules:TimeDecay",
    "shao_li": "mal_tf.attribution.shao_li:ShaoLi",
    "shapley": "mal_tf.attribution.shapley:Shapley",
    "markov": "mal_tf.attribution.markov:Markov",
    "attention": "mal_tf.attribution.attention:Attention",
}

#: Mechanisms registered in this process, by name.
_registered: dict[str, type[Mechanism]] = {}

AnyMechanism = TypeVar("AnyMechanism", bound=type[Mechanism])


def register(name: str) -> Callable[[AnyMechanism], AnyMechanism]:
    """Class decorator that registers your own mechanism under a name, for use like a built-in one in this process.

    A class in an installed package needs no registration. Its type is `package.module:Class`, which works in every process.

    Args:
        name: type of the mechanism in `MechanismConfig`. Registering a name again replaces the class.

    Raises:
        MalTfError: a built-in mechanism has the name, or the class is not a `Mechanism`.

    Example:
        >>> import numpy as np
        >>> import mal_tf
        >>> @mal_tf.register("second")
        ... class Second(mal_tf.Mechanism):
        ...     def credit(self, journeys):
        ...         credit = np.zeros(journeys.click.size)
        ...         second = np.minimum(journeys.offsets[:-1] + 1, journeys.offsets[1:] - 1)
        ...         credit[second[journeys.lengths > 0]] = 1.0
        ...         return credit
        >>> mal_tf.mechanism("second").make()  # doctest: +ELLIPSIS
        <...Second object at ...>
    """
    if name in MECHANISMS:
        raise MalTfError(f"'{name}' is a built-in attribution mechanism; register yours under another name")

    def decorate(mechanism: AnyMechanism) -> AnyMechanism:
        _registered[name] = _checked(name, mechanism)
        return mechanism

    return decorate


def create(kind: str, parameters: dict) -> Mechanism:
    """Creates a mechanism with its configured parameters.

    Args:
        kind: a name in `MECHANISMS`, a registered name, or `package.module:Class`.
        parameters: arguments of the constructor.

    Raises:
        MalTfError: there is no such mechanism, it does not take these parameters or values, or its constructor failed.
    """
    mechanism = _find(kind)
    with mechanism_errors(kind, "__init__"):
        _check_parameters(mechanism, parameters)
        try:
            return mechanism(**parameters)
        except TypeError as error:
            raise MalTfError(f"does not take these parameters: {error}") from error
        except ValueError as error:
            raise MalTfError(str(error)) from error


def _check_parameters(mechanism: type[Mechanism], parameters: dict) -> None:
    """Checks names, and the values of what is annotated as a number: a boolean is none, nor is text."""
    known = inspect.signature(mechanism).parameters
    unknown = [name for name in parameters if name not in known]
    if unknown and not any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values()):
        raise MalTfError(
            f"does not take these parameters: {', '.join(map(repr, unknown))}; known: {', '.join(known) or 'none'}"
        )
    for name, value in parameters.items():
        annotation = known[name].annotation if name in known else None
        if annotation in (int, float, "int", "float") and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise MalTfError(f"parameter {name}: expected a number, found {value!r}")


def _find(kind: str) -> type[Mechanism]:
    available: dict[str, str | type[Mechanism]] = {**MECHANISMS, **_registered}
    return find(kind, available, Mechanism, "attribution mechanism")


def _checked(kind: str, mechanism: object) -> type[Mechanism]:
    if not (isinstance(mechanism, type) and issubclass(mechanism, Mechanism)):
        raise MalTfError(f"attribution mechanism '{kind}' is not a subclass of {Mechanism.__module__}.Mechanism")
    return mechanism
