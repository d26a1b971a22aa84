"""The directory of a finished stage: locked while written, complete if and only if it holds manifest.json."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystems import FileSystems

from features.errors import Busy, MalTfError
from pipelines.core import files

MANIFEST = "manifest.json"
MARK = "_INCOMPLETE"
LOCK = ".lock"


def fingerprint(*parts: Any) -> str:
    """Hash of JSON-able values: what a stage was made from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read(directory: str, what: str = "a finished stage") -> dict:
    """Reads a stage's manifest.

    Raises:
        MalTfError: there is none: the stage did not finish, or the path is wrong.
    """
    path = FileSystems.join(directory, MANIFEST)
    if not files.exists(path):
        raise MalTfError(f"{directory}: expected {what}, found no {MANIFEST}: it did not finish, or the path is wrong")
    return json.loads(files.read_text(path))


def made_from(directory: str) -> str:
    """Fingerprint of what a finished stage was made from."""
    return read(directory)["made_from"]


def is_finished(directory: str, made_from: str) -> bool:
    """Whether the stage in `directory` is complete, made from just this, and all its files are still there."""
    path = FileSystems.join(directory, MANIFEST)
    if not files.exists(path):
        return False
    found = json.loads(files.read_text(path))
    if found.get("made_from") != made_from:
        return False
    there = files.listing(directory)
    entries = [entry for key in ("files", "other_files") for entry in found.get(key, [])]
    return all(there.get(entry["path"]) == entry["bytes"] for entry in entries)


def begin(directory: str, overwrite: bool) -> None:
    """Makes `directory` fresh: empty but for a lock and the mark that it is ours and not complete.

    Raises:
        MalTfError: it holds a finished stage and `overwrite` is not set, or files that are not ours.
    """
    mark, manifest = (FileSystems.join(directory, name) for name in (MARK, MANIFEST))
    if files.exists(manifest):
        if not overwrite:
            raise MalTfError(f"{directory} is finished already; choose another output or pass --overwrite")
    elif not files.exists(mark) and not files.is_empty(directory, but=LOCK):
        raise MalTfError(f"{directory} is not empty and was not made by mal-tf; choose another output")
    # From here on it is no finished stage, and still ours even if the removal is cut short.
    files.write_text(mark, "This directory is being written, or was left unfinished. Readers must not use it.\n")
    files.delete(manifest)
    files.clear(directory, keep=(MARK, LOCK))


def finish(directory: str, manifest: dict) -> None:
    """Writes the manifest, last of all files, which makes the stage finished; then takes the mark away."""
    files.write_text(FileSystems.join(directory, MANIFEST), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    files.delete(FileSystems.join(directory, MARK))


@contextlib.contextmanager
def replaced(directory: str, aside: str) -> Iterator[None]:
    """While a local directory is made anew, what was finished in it lies aside; it comes back if that fails.

    A directory that is a link or a disk of its own can't be put aside; what it holds is gone.

    Args:
        directory: of the stage.
        aside: a place of this stage's own on the same disk. Both are held by the caller.
    """
    movable = files.is_local(directory) and not os.path.islink(directory) and not os.path.ismount(directory)
    if movable and files.exists(FileSystems.join(directory, MANIFEST)):
        pathlib.Path(aside).parent.mkdir(parents=True, exist_ok=True)
        os.rename(directory, aside)
    try:
        yield
    finally:
        recover(directory, aside)


def recover_all(directory: str, aside: str) -> None:
    """Ends the replacements of killed processes.

    Args:
        directory: of all stages.
        aside: where they lie aside, each under its own name.
    """
    for found in sorted(pathlib.Path(aside).rglob(MANIFEST)) if files.is_local(directory) else ():
        name = found.parent.relative_to(aside)
        recover(os.path.join(directory, name), os.path.join(aside, name))


def recover(directory: str, aside: str) -> None:
    """Ends a replacement: what lies aside comes back, or goes if it was replaced."""
    if not os.path.isdir(aside):
        return
    if os.path.exists(os.path.join(directory, MANIFEST)):
        shutil.rmtree(aside)
    else:
        shutil.rmtree(directory, ignore_errors=True)
        pathlib.Path(directory).parent.mkdir(parents=True, exist_ok=True)
        os.rename(aside, directory)
    with contextlib.suppress(OSError):  # Others lie there.
        os.removedirs(os.path.dirname(aside))


@contextlib.contextmanager
def lock(directory: str) -> Iterator[None]:
    """Holds a directory for this process alone; a dead process holds nothing.

    Local directories only: on object stores the caller's scheduler has to see to it.

    Raises:
        Busy: another process has it.
        MalTfError: it can't be made or written to.
    """
    if not files.is_local(directory):
        yield
        return
    path = pathlib.Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        opened = open(path / LOCK, "a+")  # noqa: SIM115 - it is closed below
    except OSError as error:
        raise MalTfError(f"{directory}: expected a directory to write to: {error.strerror or error}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "?"
            raise Busy(
                f"{directory} is in use by process {holder}; wait for it or choose another output. A process that is dead "
                "holds nothing"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
