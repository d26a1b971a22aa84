"""Import hook that registers mal-tf's Keras objects when Keras is imported, directly or by a module of mal-tf.

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

#: Packages whose modules import Keras. The objects can't be registered while one of these modules is being imported.
_PACKAGES = ("features", "mal_tf", "tensorflow_recommenders")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Keras and modules that import it by the other finders, and registers the objects when the outermost is imported."""

    def __init__(self):
        self._depth = 0

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """See base class."""
        if fullname != _KERAS and fullname.partition(".")[0] not in _PACKAGES:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            self._depth += 1
            try:
                execute(module)
            finally:
                self._depth -= 1
            if not self._depth:
                register_if_loaded()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Registers the objects, unless none of them can be used: with Keras 3, or without TensorFlow Recommenders."""
    try:
        with contextlib.suppress(MalTfError):
            importlib.import_module(_OBJECTS)
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_recommenders":  # Workers of the label job lack it, and load no models.
            raise


def register_if_loaded() -> None:
    """Registers the objects if Keras is loaded."""
    if _KERAS in sys.modules:
        register()


def install() -> None:
    """Registers the objects now if Keras is loaded, otherwise as soon as it is."""
    if _KERAS in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _Finder())
