"""Import hook that registers mal-tf's Keras objects when Keras is imported.

It does not import Keras itself, since TensorFlow takes seconds to load.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
import types

from features.errors import MalTfError

_KERAS, _OBJECTS = "tf_keras", "mal_tf.keras_objects"


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras by the other finders and makes its loader register mal-tf's objects afterwards."""

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """See base class."""
        if fullname != _KERAS:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            # While `features.keras2` is being imported, modules that import it can't be; `mal_tf` registers afterwards.
            if "features.keras2" not in sys.modules:
                register()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Registers the objects, unless TensorFlow is set up with Keras 3, with which none of them can be used."""
    with contextlib.suppress(MalTfError):
        importlib.import_module(_OBJECTS)


def register_if_loaded() -> None:
    """Registers the objects if Keras is loaded."""
    if _KERAS in sys.modules:
        register()


def install() -> None:
    """Registers the objects now if Keras is loaded, otherwise as soon as it is."""
    if _KERAS in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _KerasFinder())
