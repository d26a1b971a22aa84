"""Resolution of the classes that a config names: built-in ones by a short name, any other by import path."""

import difflib
import importlib
import inspect
import os
import sys
import traceback
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union

import pydantic

from features.errors import MalTfError, foreign_code

#: Form of the name of a class that does not come with mal-tf.
OWN = "package.module:Class"

Base = TypeVar("Base")
Model = TypeVar("Model", bound=pydantic.BaseModel)


def find(kind: str, builtin: Mapping[str, str | type[Base]], base: type, description: str) -> type[Base]:
    """Returns the class that a config names.

    Args:
        kind: a key of `builtin`, or an import path such as `package.module:Class`.
        builtin: classes or their import paths, by short name.
        base: required base class. It may be abstract, hence not `type[Base]`, which admits concrete classes only.
        description: what the class is, for messages.

    Raises:
        MalTfError: there is no such class, its module failed, it is not a subclass of `base`, or it lacks methods.
    """
    target = builtin.get(kind, kind)
    if isinstance(target, type):
        return target
    module, colon, name = target.partition(":")
    if not colon:
        nearest = difflib.get_close_matches(kind, builtin, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise MalTfError(
            f"unknown {description} '{kind}'; {hint}Known: {', '.join(builtin)}; your own is given as {OWN}"
        )
    found = import_module(module, f"{description} '{kind}'")
    if not hasattr(found, name):
        raise MalTfError(
            f"{description} '{kind}' can't be imported: module '{module}' has no attribute '{name}'; it is "
            + str(getattr(found, "__file__", None) or "not a file")
        )
    cls = getattr(found, name)
    fits = isinstance(cls, type) and issubclass(cls, base)
    if not fits:
        raise MalTfError(f"{description} '{kind}' is not a subclass of {base.__module__}.{base.__name__}")
    if inspect.isabstract(cls):
        missing = ", ".join(f"`{method}`" for method in sorted(cls.__abstractmethods__))
        raise MalTfError(f"{description} '{kind}' lacks methods of {base.__module__}.{base.__name__}: define {missing}")
    return cls


def import_module(path: str, description: str) -> types.ModuleType:
    """Imports a module that a config names.

    Args:
        path: full name of the module.
        description: what names it, for messages.

    Raises:
        MalTfError: there is no such module, or it failed; the message then has the file and the line.
    """
    try:
        with foreign_code():
            return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if f"{path}.".startswith(f"{error.name}."):
            raise MalTfError(
                f"{description} can't be imported: {error}. Install its package where the job runs; "
                f"looked in {', '.join(sys.path)}"
            ) from error
        raise _import_failed(error, description) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(error, description) from error


def _import_failed(error: BaseException, description: str) -> MalTfError:
    if isinstance(error, SyntaxError):
        file, line, message = error.filename, error.lineno, error.msg
    else:  # The innermost frame in the folder of the module; within it, libraries may have been called.
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
        outer = next((f for f in frames if f.filename not in (__file__, importlib.__file__)), None)
        if outer is None:  # An empty or relative path, or a binary module.
            return MalTfError(f"{description} can't be imported: {type(error).__name__}: {error}")
        inner = [f for f in frames if f.filename.startswith(os.path.dirname(outer.filename))][-1]
        file, line, message = inner.filename, inner.lineno, str(error)
    kind = type(error).__name__
    return MalTfError(f"{description} can't be imported: {file}, line {line}: {kind}: {message}; correct the module")


def block(builtin: Mapping[str, type[Model]], base: type, key: str, description: str) -> Any:
    """Type annotation of a config block whose `key` names its class.

    Args:
        builtin: pydantic models by the value of `key`.
        base: their base class, which a user's own class must have too.
        key: field that names the class.
        description: what the block is, for messages.
    """

    def tag(value: Any) -> str:
        kind: Any = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return kind if isinstance(kind, str) and kind in builtin else OWN

    def validate_own(value: Any, info: pydantic.ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if not isinstance(kind := value.get(key), str):
            raise ValueError(f"{key} is missing: one of {', '.join(builtin)}, or {OWN} of your own")
        try:
            with foreign_code():
                return find(kind, builtin, base, description).model_validate(value, context=info.context)
        except MalTfError as error:
            raise ValueError(str(error)) from error
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            raise ValueError(": ".join([".".join(map(str, first["loc"])) or kind, message])) from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"{description} '{kind}': {type(error).__name__}: {error}") from error

    branches = [Annotated[cls, pydantic.Tag(name)] for name, cls in builtin.items()]
    as_any: Any = pydantic.SerializeAsAny  # Type checkers see an alias, which can't be subscripted with a variable.
    branches.append(Annotated[as_any[base], pydantic.BeforeValidator(validate_own), pydantic.Tag(OWN)])
    return Annotated[Union[tuple(branches)], pydantic.Discriminator(tag)]  # noqa: UP007 - a variable number of members
