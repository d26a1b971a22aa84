"""Stage directories, which are locked while written and complete if and only if they hold `manifest.json`."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystems import FileSystems

from features.errors import Busy, MalTfError
from pipelines.core import files

log = logging.getLogger("mal_tf.run")

MANIFEST = "manifest.json"
MARK = "_INCOMPLETE"
LOCK = ".lock"


def fingerprint(*parts: Any) -> str:
    """Returns a SHA-256 hash, in hexadecimal, of JSON-serializable values such as all inputs of a stage."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read(directory: str, expected: str = "a finished stage") -> dict:
    """Reads the manifest of a finished stage.

    Args:
        directory: the stage's directory.
        expected: what the directory should hold, for the error message.

    Raises:
        MalTfError: the directory has no manifest, because the stage did not finish or the path is wrong.
    """
    if not files.exists(FileSystems.join(directory, MANIFEST)):
        raise MalTfError(
            f"{directory}: expected {expected}, found no {MANIFEST}: it did not finish, or the path is wrong"
        )
    content = _content(directory)
    if content is None:
        raise MalTfError(f"{directory}: expected {expected}, found an empty or cut {MANIFEST}; run the stage again")
    return content


def _content(directory: str) -> dict | None:
    """Returns the content of an existing manifest; None if it is empty or cut, as by a machine that stopped."""
    path = FileSystems.join(directory, MANIFEST)
    try:
        content = json.loads(files.read_text(path))
    except ValueError:
        log.warning("%s: expected JSON, found an empty or cut file; the stage counts as unfinished", path)
        return None
    return content if isinstance(content, dict) else {}


def _is_own(directory: str) -> bool:
    """Whether a directory holds a manifest of mal-tf's; other tools write files of that name, too."""
    if not files.exists(FileSystems.join(directory, MANIFEST)):
        return False
    content = _content(directory)
    return content is None or "made_from" in content


def made_from(directory: str) -> str:
    """Returns the fingerprint of the inputs of a finished stage."""
    return read(directory)["made_from"]


def is_finished(directory: str, made_from: str) -> bool:
    """Whether the stage in `directory` is complete, has this fingerprint, and still has all its files at their recorded sizes."""
    if not files.exists(FileSystems.join(directory, MANIFEST)):
        return False
    manifest = _content(directory)
    if manifest is None or manifest.get("made_from") != made_from:
        return False
    sizes = files.listing(directory)
    entries = [entry for key in ("files", "other_files") for entry in manifest.get(key, [])]
    return all(sizes.get(entry["path"]) == entry["bytes"] for entry in entries)


def begin(directory: str, overwrite: bool) -> None:
    """Empties `directory` and marks it as an incomplete directory of mal-tf; the lock file stays.

    Raises:
        MalTfError: the directory holds a finished stage and `overwrite` is not set, or files that mal-tf did not write.
    """
    mark, manifest = (FileSystems.join(directory, name) for name in (MARK, MANIFEST))
    if _is_own(directory):
        if not overwrite:
            raise MalTfError(f"{directory} is finished already; choose another output or pass --overwrite")
    elif not files.exists(mark) and not files.is_empty(directory, ignore=LOCK):
        raise MalTfError(f"{directory} is not empty and was not made by mal-tf; choose another output")
    # From here on the directory is unfinished, and marked as mal-tf's even if the removal is interrupted.
    files.write_text(mark, "This directory is being written, or was left unfinished. Readers must not use it.\n")
    files.delete(manifest)
    files.clear(directory, keep=(MARK, LOCK))


def finish(directory: str, manifest: dict) -> None:
    """Finishes a stage by writing its manifest as the last file, then removes the mark of an incomplete directory.

    Args:
        directory: the stage's directory.
        manifest: what the stage states; `made_from`, the fingerprint of its inputs, says that the directory is mal-tf's.
    """
    files.write_text(FileSystems.join(directory, MANIFEST), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    files.delete(FileSystems.join(directory, MARK))


@contextlib.contextmanager
def replaced(directory: str, backup: str) -> Iterator[None]:
    """Moves a finished local stage to a backup while the stage runs again, and restores it if that fails.

    A directory that is a symbolic link or a mount point can't be moved, so its previous contents are lost.

    Args:
        directory: the stage's directory.
        backup: path on the same disk reserved for this stage. The caller must have locked both.
    """
    movable = files.is_local(directory) and not os.path.islink(directory) and not os.path.ismount(directory)
    if movable and _is_own(directory):
        pathlib.Path(backup).parent.mkdir(parents=True, exist_ok=True)
        os.rename(directory, backup)
    try:
        yield
    finally:
        recover(directory, backup)


def recover_all(directory: str, backups: str) -> None:
    """Completes or undoes replacements that were interrupted because their process was killed.

    Args:
        directory: parent directory of all stages.
        backups: directory of the stages moved by `replaced`, each under its own name.
    """
    for manifest in sorted(pathlib.Path(backups).rglob(MANIFEST)) if files.is_local(directory) else ():
        name = manifest.parent.relative_to(backups)
        recover(os.path.join(directory, name), os.path.join(backups, name))


def recover(directory: str, backup: str) -> None:
    """Ends a replacement by deleting the backup if the new stage is finished, and restoring it otherwise."""
    if not os.path.isdir(backup):
        return
    if os.path.exists(os.path.join(directory, MANIFEST)):
        shutil.rmtree(backup)
    else:
        shutil.rmtree(directory, ignore_errors=True)
        pathlib.Path(directory).parent.mkdir(parents=True, exist_ok=True)
        os.rename(backup, directory)
    with contextlib.suppress(OSError):  # Not empty: it holds backups of other stages.
        os.removedirs(os.path.dirname(backup))


@contextlib.contextmanager
def lock(directory: str) -> Iterator[None]:
    """Locks a directory for this process; the kernel releases the lock when the process ends.

    Only local directories are locked. On object stores, the scheduler must ensure that a single process writes.

    Raises:
        Busy: another process holds the lock.
        MalTfError: the directory can't be created or written to.
    """
    if not files.is_local(directory):
        yield
        return
    path = pathlib.Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock_file = open(path / LOCK, "a+")  # noqa: SIM115 - closed below
    except OSError as error:
        raise MalTfError(f"{directory}: expected a writable directory: {error.strerror or error}") from error
    with lock_file as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "?"
            raise Busy(
                f"{directory} is in use by process {holder}; wait for it to end or choose another output. The lock "
                "ends with the process that holds it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
