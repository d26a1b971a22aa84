"""The serving directory that TensorFlow Serving watches: versions are pushed whole, rolled back and retained."""

import contextlib
import dataclasses
import filecmp
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from features.errors import Busy, MalTfError
from pipelines.core import manifest

#: File in a version with its lineage.
LINEAGE = "assets.extra/lineage.json"

_SAVED_MODEL = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class Version:
    """A complete version.

    Attributes:
        number: TensorFlow Serving takes the largest.
        path: of the SavedModel.
        lineage: what `push` was given; of a copy made by `rollback` also `rolled_back_from`, the number that served, and
            `copy_of`, the number that was first pushed with this model. Empty for a version that `push` did not make.
    """

    number: int
    path: str
    lineage: dict[str, Any]

    @property
    def origin(self) -> int:
        """The number that was first pushed with this model: a copy's is that of what was copied."""
        return self.lineage.get("copy_of", self.number)


def versions(directory: str) -> list[Version]:
    """Complete versions, the oldest first; none if there is no such directory.

    Raises:
        MalTfError: a version's lineage is not JSON.
    """
    complete = ((number, path) for number, path in _numbered(directory) if (path / _SAVED_MODEL).exists())
    return [Version(number, str(path), _lineage(path)) for number, path in sorted(complete)]


def current(directory: str) -> Version | None:
    """The version that serves: the complete one with the largest number."""
    return max(versions(directory), key=lambda version: version.number, default=None)


def may_push(blessed: bool, infra: bool, anomalies: bool, stale: bool) -> list[str]:
    """Reasons against pushing a candidate; empty if it may serve.

    Args:
        blessed: it was blessed.
        infra: it passed the infra check.
        anomalies: its data has some.
        stale: what serves is not what it started from and was judged against.
    """
    against = {
        "it is not blessed": not blessed,
        "it failed the infra check": not infra,
        "its data has anomalies": anomalies,
        "it is stale: what serves is not what it started from": stale,
    }
    return [reason for reason, holds in against.items() if holds]


def push(saved_model: str, directory: str, lineage: dict[str, Any], serves: int | None = None) -> int:
    """Copies a model as the next version, which appears whole or not at all.

    A push that was killed after its version appeared does not make a second one when it is repeated.

    Args:
        saved_model: directory of the SavedModel.
        directory: of all versions; local.
        lineage: JSON-able, the same if the push is repeated: no time of day; at least `{"span", "model", "run"}`.
        serves: the version that served when the push was decided on; None: any.

    Returns:
        Number of the version that serves it.

    Raises:
        Busy: another version serves than `serves`.
        MalTfError: there is no such model, it was pushed already and rolled back, another process changes the directory, or
            it can't be written.
    """
    source = pathlib.Path(saved_model)
    if not (source / _SAVED_MODEL).exists():
        raise MalTfError(f"{saved_model}: expected a SavedModel to push, found no {_SAVED_MODEL}")
    with _changing(directory):
        existing = versions(directory)
        for version in existing:
            if version.lineage == lineage and _same(source, pathlib.Path(version.path)):
                if existing[-1].origin != version.number:
                    raise MalTfError(
                        f"{directory}: {saved_model} was pushed as version {version.number} already, and since then "
                        f"{existing[-1].number} serves; to serve it again, roll back to {version.number}"
                    )
                return existing[-1].number
        if serves is not None and existing[-1].number != serves:
            raise Busy(
                f"{directory}: version {existing[-1].number} serves now, and {serves} did when this push was decided on; run the "
                "span again"
            )
        return _add(source, directory, lineage).number


def rollback(directory: str, to: int | None = None) -> Version:
    """Serves an earlier model again: a copy of its version gets the next number; nothing is deleted.

    Args:
        directory: of all versions; local.
        to: the version to go back to; None: the newest that is older than the first version with the model that serves.
            So each rollback goes one model further back, never to one that was rolled back from.

    Returns:
        What serves now.

    Raises:
        MalTfError: no such version, nothing earlier, another process changes the directory, or it can't be written.
    """
    with _changing(directory):
        by_number = {version.number: version for version in versions(directory)}
        if not by_number:
            raise MalTfError(f"{directory}: nothing serves, so there is nothing to roll back")
        serving = by_number[max(by_number)]
        complete = f"complete versions: {', '.join(map(str, by_number))}"
        if to is None:
            to = max((number for number in by_number if number < serving.origin), default=None)
            if to is None:
                raise MalTfError(
                    f"{directory}: no version is earlier than {serving.origin}, the model that serves as {serving.number}; "
                    f"{complete}"
                )
        if to not in by_number:
            raise MalTfError(f"{directory}: there is no version {to} to roll back to; {complete}")
        target = by_number[to]
        if target.origin == serving.origin:
            return serving
        lineage = target.lineage | {"rolled_back_from": serving.number, "copy_of": target.origin}
        return _add(pathlib.Path(target.path), directory, lineage)


def retain(directory: str, keep: int) -> list[int]:
    """Deletes all complete versions but the newest `keep`; the one that serves always stays.

    Returns:
        Numbers of those deleted.

    Raises:
        MalTfError: another process changes the directory, or it can't be written.
    """
    with _changing(directory):
        old = versions(directory)[: -max(keep, 1)]
        for version in old:
            hidden = _hidden(directory, version.number)
            os.rename(version.path, hidden)  # Half deleted, it would still be a version to TensorFlow Serving.
            shutil.rmtree(hidden)
        return [version.number for version in old]


@contextlib.contextmanager
def _changing(directory: str) -> Iterator[None]:
    """Locks the directory, and removes what a killed process left behind."""
    try:
        with manifest.lock(directory):
            for left in pathlib.Path(directory).glob(".*.partial"):
                shutil.rmtree(left)
            yield
    except OSError as error:
        raise MalTfError(
            f"{directory}: its versions can't be changed: {error}. Free disk space or correct the permissions, then try again; "
            "the model that served still serves."
        ) from error


def _add(source: pathlib.Path, directory: str, lineage: dict[str, Any]) -> Version:
    number = max((number for number, _ in _numbered(directory)), default=0) + 1
    hidden, final = _hidden(directory, number), pathlib.Path(directory, str(number))
    try:
        (hidden / LINEAGE).parent.mkdir(parents=True)
        (hidden / LINEAGE).write_text(json.dumps(lineage, indent=1) + "\n")
        for name in _files(source):
            (hidden / name).parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(source / name, hidden / name)
        for path in [*hidden.rglob("*"), hidden]:
            _sync(path)
        os.rename(hidden, final)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    _sync(final.parent)
    return Version(number, str(final), lineage)


def _numbered(directory: str) -> Iterator[tuple[int, pathlib.Path]]:
    """Directories that TensorFlow Serving takes for versions, complete or not."""
    for path in pathlib.Path(directory).glob("*"):
        if path.name.isascii() and path.name.isdigit():
            yield int(path.name), path


def _hidden(directory: str, number: int) -> pathlib.Path:
    """A path that TensorFlow Serving ignores, as its name is no integer."""
    return pathlib.Path(directory, f".{number}.partial")


def _lineage(version: pathlib.Path) -> dict[str, Any]:
    path = version / LINEAGE
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise MalTfError(
            f"{path}: expected JSON: {error}. Correct the file, or move version {version.name} away."
        ) from error


def _files(model: pathlib.Path) -> list[str]:
    """A model's files, relative, `saved_model.pb` last, without the lineage."""
    names = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()} - {LINEAGE}
    return sorted(names, key=lambda name: (name == _SAVED_MODEL, name))


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two models hold the same files, byte for byte."""
    names = _files(one)
    return names == _files(other) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def _sync(path: pathlib.Path) -> None:
    """Flushes a file, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
