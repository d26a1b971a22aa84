"""Where attribution mechanisms are: those of mal-tf by name, anybody's by import path."""

import difflib
import importlib
import sys

from features.errors import MalTfError
from mal_tf.attribution.mechanism import Mechanism

#: Name in configs to import path. Adding a mechanism is one file and one line here.
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


def create(kind: str, parameters: dict) -> Mechanism:
    """Makes a mechanism with its configured parameters.

    Args:
        kind: a name of `MECHANISMS`, or `package.module:Class` of a user's own.
        parameters: arguments of its constructor.

    Raises:
        MalTfError: there is no such mechanism, or it does not take these parameters.
    """
    found = _find(kind)
    try:
        return found(**parameters)
    except (TypeError, ValueError) as error:
        raise MalTfError(f"attribution mechanism '{kind}' does not take these parameters: {error}") from error


def _find(kind: str) -> type[Mechanism]:
    module, colon, name = MECHANISMS.get(kind, kind).partition(":")
    if not colon:
        nearest = difflib.get_close_matches(kind, MECHANISMS, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise MalTfError(
            f"unknown attribution mechanism '{kind}'; {hint}Known: {', '.join(MECHANISMS)}; your own is given as "
            "package.module:Class"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MalTfError(
            f"attribution mechanism '{kind}' can't be imported: {error}. Install its package where the job runs; "
            f"looked in {', '.join(sys.path)}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Mechanism)):
        raise MalTfError(f"attribution mechanism '{kind}' is not a subclass of {Mechanism.__module__}.Mechanism")
    return found
