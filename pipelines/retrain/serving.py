"""Manages the versions in the directory that TensorFlow Serving watches: atomic push, rollback, deletion of old ones."""

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
from mal_tf.serving.versions import numbered
from pipelines.core import locks

#: Directory of the versions in a schedule's root.
SERVING = "serving"

#: Path of the lineage file in a version.
LINEAGE = "assets.extra/lineage.json"

_SAVED_MODEL = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class Version:
    """A complete version.

    Attributes:
        number: the version number; TensorFlow Serving serves the largest.
        path: directory of the SavedModel.
        lineage: the lineage given to `push`. A copy made by `rollback` also has `rolled_back_from`, the number that served,
            and `copy_of`, the number that the model was first pushed as. Empty for a version that `push` did not make.
    """

    number: int
    path: str
    lineage: dict[str, Any]

    @property
    def origin(self) -> int:
        """The number that the model was first pushed as, also for a copy made by `rollback`."""
        return self.lineage.get("copy_of", self.number)


def versions(directory: str) -> list[Version]:
    """Return the complete versions, the oldest first; none if the directory does not exist.

    Raises:
        MalTfError: a version's lineage is not JSON.
    """
    complete = ((number, path) for number, path in numbered(directory) if (path / _SAVED_MODEL).exists())
    return [Version(number, str(path), _lineage(path)) for number, path in sorted(complete)]


def current(directory: str) -> Version | None:
    """Return the serving version, the complete one with the largest number; None if there is none."""
    return max(versions(directory), key=lambda version: version.number, default=None)


def may_push(blessed: bool, infra: bool, anomalies: bool, stale: bool) -> list[str]:
    """Return reasons against pushing a candidate; empty if it may serve.

    Args:
        blessed: whether it was blessed.
        infra: whether it passed the infra check.
        anomalies: whether its data has anomalies.
        stale: whether the serving model is not the one that it started from and was judged against.
    """
    reasons = {
        "it is not blessed": not blessed,
        "it failed the infra check": not infra,
        "its data has anomalies": anomalies,
        "it is stale: the serving model is not the one that it started from": stale,
    }
    return [reason for reason, applies in reasons.items() if applies]


def push(saved_model: str, directory: str, lineage: dict[str, Any], serves: int | None = None) -> int:
    """Copy a model as the next version, atomically.

    A push that was killed after its version appeared does not make a second one when it is repeated.

    Args:
        saved_model: directory of the SavedModel.
        directory: local directory of all versions.
        lineage: JSON-serializable, at least `{"span", "model", "run"}`. It must be the same if the push is repeated, so it
            must not contain the time.
        serves: number of the version that served when the push was decided on; None for any.

    Returns:
        Number of the version that serves the model.

    Raises:
        Busy: a version other than `serves` serves.
        MalTfError: the model does not exist, or it was pushed and rolled back, or another process changes the directory, or
            it is not writable.
    """
    source = pathlib.Path(saved_model)
    if not (source / _SAVED_MODEL).exists():
        raise MalTfError(f"{saved_model}: expected a SavedModel to push, found no {_SAVED_MODEL}")
    with _locked(directory):
        existing = versions(directory)
        for version in existing:
            if version.lineage == lineage and _same(source, pathlib.Path(version.path)):
                if existing[-1].origin != version.number:
                    raise MalTfError(
                        f"{directory}: {saved_model} was already pushed as version {version.number}, and version "
                        f"{existing[-1].number} serves since; to serve it again, roll back to {version.number}"
                    )
                return existing[-1].number
        if serves is not None and existing[-1].number != serves:
            raise Busy(
                f"{directory}: version {existing[-1].number} serves now, but {serves} served when this push was decided on; run "
                "the span again"
            )
        return _add(source, directory, lineage).number


def rollback(directory: str, to: int | None = None) -> Version:
    """Serve an earlier model again, as a copy of its version with the next number. Nothing is deleted.

    Args:
        directory: local directory of all versions.
        to: the version to go back to. By default the newest that is older than the first version with the serving model, so
            that each rollback goes one model further back, never to one that was rolled back from.

    Returns:
        The version that serves now.

    Raises:
        MalTfError: the version does not exist, or there is no earlier one, or another process changes the directory, or it
            is not writable.
    """
    with _locked(directory):
        by_number = {version.number: version for version in versions(directory)}
        if not by_number:
            raise MalTfError(f"{directory}: expected a serving version to roll back, found none")
        serving = by_number[max(by_number)]
        complete = f"complete versions: {', '.join(map(str, by_number))}"
        if to is None:
            to = max((number for number in by_number if number < serving.origin), default=None)
            if to is None:
                raise MalTfError(
                    f"{directory}: no version is earlier than {serving.origin}, whose model serves as {serving.number}; "
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
    """Delete all complete versions but the newest `keep`. The serving version is always kept.

    Returns:
        Numbers of the deleted versions.

    Raises:
        MalTfError: another process changes the directory, or it is not writable.
    """
    with _locked(directory):
        old = versions(directory)[: -max(keep, 1)]
        for version in old:
            hidden = _hidden(directory, version.number)
            # TensorFlow Serving would still take a half-deleted directory for a version.
            os.rename(version.path, hidden)
            shutil.rmtree(hidden)
        return [version.number for version in old]


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Lock the directory, and remove partial versions that a killed process left behind."""
    try:
        with locks.lock(directory, alone=True):  # A rollback may come during a retraining.
            for partial in pathlib.Path(directory).glob(".*.partial"):
                shutil.rmtree(partial)
            yield
    except OSError as error:
        raise MalTfError(
            f"{directory}: its versions can't be changed: {error}. Free disk space or fix the permissions, then try again; the "
            "serving model is unchanged."
        ) from error


def _add(source: pathlib.Path, directory: str, lineage: dict[str, Any]) -> Version:
    number = max((number for number, _ in numbered(directory)), default=0) + 1
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


def _hidden(directory: str, number: int) -> pathlib.Path:
    """Return a path that TensorFlow Serving ignores, as its name is not an integer."""
    return pathlib.Path(directory, f".{number}.partial")


def _lineage(version: pathlib.Path) -> dict[str, Any]:
    path = version / LINEAGE
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise MalTfError(
            f"{path}: expected JSON: {error}. Fix the file, or move version {version.name} away."
        ) from error


def _files(model: pathlib.Path) -> list[str]:
    """Return the relative paths of a model's files, `saved_model.pb` last, without the lineage."""
    names = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()} - {LINEAGE}
    return sorted(names, key=lambda name: (name == _SAVED_MODEL, name))


def _same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Return whether two models have the same files, byte for byte."""
    names = _files(one)
    return names == _files(other) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def _sync(path: pathlib.Path) -> None:
    """Flush a file, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
