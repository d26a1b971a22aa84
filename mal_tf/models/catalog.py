"""Catalog of models: built-in and registered ones by name, any other by import path."""

import difflib
import re
import types
from collections.abc import Callable

from features.errors import MalTfError
from features.registry import import_module

#: Modules of the models by name in configs. The network is built by the function `build`, or by `package.module:function`.
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
    """Registers your own model under a name for configs, in this process.

    Args:
        name: name of the model.
        path: `package.module` with a function `build` that has the signature of `mal_tf.models.base.build`, or
            `package.module:function`. A class `Config` in the module defines the model's own keys (`mal_tf.models.config`).

    Raises:
        ValueError: another model has that name.
    """
    if MODELS.setdefault(name, path) != path:
        raise ValueError(f"the name '{name}' is taken by the model {MODELS[name]}; register {path} under another name")


def check(name: str) -> str:
    """Checks the name of a model and returns it. Import paths are not resolved.

    Raises:
        ValueError: the name is neither in `MODELS` nor an import path.
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
    """Imports the module of a model.

    Raises:
        MalTfError: the module can't be imported.
    """
    path = MODELS.get(name, name).partition(":")[0]
    return import_module(path, f"model '{name}': {path}")


def builder(name: str) -> Callable:
    """Returns the function that builds a model, with the signature of `mal_tf.models.base.build`.

    Raises:
        MalTfError: there is no such function.
    """
    function_name = MODELS.get(name, name).partition(":")[2] or "build"
    function = getattr(module(name), function_name, None)
    if not callable(function):
        found = module(name)
        raise MalTfError(
            f"model '{name}': expected a function '{function_name}' in {found.__name__}, found none in {found.__file__}; "
            "define it, or name another as package.module:function"
        )
    return function
