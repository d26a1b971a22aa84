"""Stage directories: locked while written, complete if and only if they hold `manifest.json`."""

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
    """Hash of JSON-able values, such as all inputs of a stage."""
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
    """Whether the stage in `directory` is complete, has this fingerprint, and all its files still exist with their sizes."""
    path = FileSystems.join(directory, MANIFEST)
    if not files.exists(path):
        return False
    manifest = json.loads(files.read_text(path))
    if manifest.get("made_from") != made_from:
        return False
    sizes = files.listing(directory)
    entries = [entry for key in ("files", "other_files") for entry in manifest.get(key, [])]
    return all(sizes.get(entry["path"]) == entry["bytes"] for entry in entries)


def begin(directory: str, overwrite: bool) -> None:
    """Empties `directory`, except for the lock and a mark that it is mal-tf's and incomplete.

    Raises:
        MalTfError: it holds a finished stage and `overwrite` is not set, or files that mal-tf did not write.
    """
    mark, manifest = (FileSystems.join(directory, name) for name in (MARK, MANIFEST))
    if files.exists(manifest):
        if not overwrite:
            raise MalTfError(f"{directory} is finished already; choose another output or pass --overwrite")
    elif not files.exists(mark) and not files.is_empty(directory, but=LOCK):
        raise MalTfError(f"{directory} is not empty and was not made by mal-tf; choose another output")
    # From here on it is unfinished, and still marked as mal-tf's even if the removal is cut short.
    files.write_text(mark, "This directory is being written, or was left unfinished. Readers must not use it.\n")
    files.delete(manifest)
    files.clear(directory, keep=(MARK, LOCK))


def finish(directory: str, manifest: dict) -> None:
    """Writes the manifest as the last file, which makes the stage finished, and removes the mark."""
    files.write_text(FileSystems.join(directory, MANIFEST), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    files.delete(FileSystems.join(directory, MARK))


@contextlib.contextmanager
def replaced(directory: str, aside: str) -> Iterator[None]:
    """Keeps the finished stage of a local directory aside while the stage runs again, and restores it if that fails.

    A directory that is a symbolic link or a mount point can't be moved; its contents are lost.

    Args:
        directory: of the stage.
        aside: a path reserved for this stage on the same disk. The caller has locked both.
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
    """Completes or undoes the replacements that killed processes left behind.

    Args:
        directory: of all stages.
        aside: directory of the stages that were moved aside, each under its own name.
    """
    for manifest in sorted(pathlib.Path(aside).rglob(MANIFEST)) if files.is_local(directory) else ():
        name = manifest.parent.relative_to(aside)
        recover(os.path.join(directory, name), os.path.join(aside, name))


def recover(directory: str, aside: str) -> None:
    """Ends a replacement: deletes the stage that was moved aside if it was replaced, and restores it otherwise."""
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
    """Locks a directory for this process; the kernel releases the lock when the process ends.

    Local directories only: on object stores, the caller's scheduler must ensure that one process writes.

    Raises:
        Busy: another process has it.
        MalTfError: it can't be created or written to.
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
