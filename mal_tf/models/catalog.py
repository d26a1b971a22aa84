"""Models by name: those of mal-tf and those that were registered; anybody's own also by import path."""

import difflib
import importlib
import re
import sys
import types
from collections.abc import Callable

from features.errors import MalTfError

#: Name in configs to the module whose function `build` makes the network; or to `package.module:function`.
MODELS = {
    "base": "mal_tf.models.base",
    "shared_bottom": "mal_tf.models.shared_bottom",
    "mmoe": "mal_tf.models.mmoe",
    "ple": "mal_tf.models.ple",
    "home": "mal_tf.models.home",
    "mal": "mal_tf.models.mal",
    "natal": "mal_tf.models.natal",
    "moae": "mal_tf.models.moae",
}


def register(name: str, path: str) -> None:
    """Gives a model of your own a name for configs, in this process.

    Args:
        name: not taken yet.
        path: `package.module`, whose function `build` builds the network as `mal_tf.models.base.build` does, or
            `package.module:function`; a class `Config` in the module has the model's own keys (`mal_tf.models.config`).

    Raises:
        ValueError: another model has that name.
    """
    if MODELS.setdefault(name, path) != path:
        raise ValueError(f"the model '{name}' is {MODELS[name]} already, not {path}")


def check(name: str) -> str:
    """Returns the name of a model as it is; an import path is not looked up.

    Raises:
        ValueError: it is neither a name of `MODELS` nor an import path.
    """
    if name in MODELS or ("." in name and all(part.isidentifier() for part in re.split("[.:]", name))):
        return name
    nearest = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise ValueError(
        f"unknown model '{name}'; {hint}Known: {', '.join(MODELS)}; your own is given as package.module, with a function "
        "`build`, or as package.module:function"
    )


def module(name: str) -> types.ModuleType:
    """The module of the model called `name`.

    Raises:
        MalTfError: it can't be imported.
    """
    path = MODELS.get(name, name).partition(":")[0]
    try:
        return importlib.import_module(path)
    except ImportError as error:
        raise MalTfError(
            f"model '{name}': {path} can't be imported: {error}. Install its package; looked in {', '.join(sys.path)}"
        ) from error


def builder(name: str) -> Callable:
    """The function that builds the model called `name`; arguments as in `mal_tf.models.factory.build`.

    Raises:
        MalTfError: there is no such function.
    """
    function = MODELS.get(name, name).partition(":")[2] or "build"
    found = getattr(module(name), function, None)
    if not callable(found):
        raise MalTfError(f"model '{name}': {module(name).__name__} has no function '{function}'")
    return found
