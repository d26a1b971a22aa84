"""Local copies of what lies on object stores, for libraries that read local files only.

They are kept in the directory `MAL_TF_CACHE`, by default ~/.cache/mal-tf, and take `MAL_TF_CACHE_GB` at most, by default nine
tenths of what the disk has free. The copies that were used the longest time ago are deleted for new ones.
"""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import logging
import os
import pathlib
import shutil
import uuid
from collections.abc import Collection, Mapping
from typing import IO

from features.errors import MalTfError
from pipelines.core import files, manifest
from pipelines.core.locks import LOCK

#: Environment variables.
_DIRECTORY, _LIMIT = "MAL_TF_CACHE", "MAL_TF_CACHE_GB"

#: File by which a process says that it uses a copy, and parallel requests to a store.
_USED, _REQUESTS = ".used", 8

log = logging.getLogger("mal_tf.cache")

_GB = 1_000_000_000

#: Copies that this process uses, by their directory, each with its locked file.
_used: dict[pathlib.Path, IO[str]] = {}


def place(uri: str) -> str:
    """Returns the local directory reserved for a copy of a remote file or directory; it is kept while this process lives."""
    uri = uri.rstrip("/")
    entry = _root() / hashlib.sha256(uri.encode()).hexdigest()[:16]
    if entry not in _used:
        entry.mkdir(parents=True, exist_ok=True)
        file = open(entry / _USED, "a+")  # noqa: SIM115 - it stays open with its lock
        fcntl.flock(file, fcntl.LOCK_SH)
        _used[entry] = file
    os.utime(entry / _USED)
    return str(entry / uri.rpartition("/")[2])


def file(path: str) -> str:
    """Returns the path of a local copy of a file; the path itself if it is local.

    Raises:
        MalTfError: there is no such file, it can't be read, or the cache is too small.
    """
    if files.is_local(path):
        return path
    target = place(path)
    folder, name = files.folder(path), os.path.basename(target)
    fetch(folder, {name: (files.size(path), files.modified(path))}, os.path.dirname(target))
    return target


def directory(path: str) -> str:
    """Returns a local copy of a directory, such as that of a finished stage or a SavedModel; the path itself if it is local.

    Raises:
        MalTfError: it holds nothing, it can't be read, or the cache is too small.
    """
    if files.is_local(path):
        return path
    listed = manifest.content(path) or {}
    if manifest.MADE_FROM in listed:
        # Another generation gets a copy of its own, as this one may be in use.
        target = place(manifest.place(path, listed))
        stage(path, listed, target)
        return target
    target = place(path)
    if not (found := files.remote_listing(path)):
        raise MalTfError(f"{path}: expected a directory with files, found nothing")
    fetch(path, found, target)
    return target


def stage(path: str, listed: Mapping, target: str, names: Collection[str] | None = None) -> None:
    """Copies a finished stage from a store; its manifest comes last.

    Args:
        path: the stage's directory on the store.
        listed: content of its manifest.
        target: the local directory.
        names: the files to copy; by default all that the manifest lists.
    """
    there = manifest.place(path, dict(listed))
    found = files.remote_listing(there)
    wanted = [entry["path"] for entry in manifest.entries(dict(listed))] if names is None else names
    if lost := [name for name in wanted if name not in found]:
        raise MalTfError(
            f"{files.join(there, lost[0])}: expected a file of a finished stage, found none; run the stage again"
        )
    final = pathlib.Path(target, manifest.MANIFEST)
    if final.exists() and manifest.content(target) != listed:
        final.unlink()
    fetch(there, {name: found[name] for name in wanted}, target)
    for stray in files.listing(target).keys() - {*wanted, manifest.MANIFEST, LOCK}:  # Of an earlier generation.
        files.delete(os.path.join(target, stray))
    manifest.write(target, listed)


def fetch(source: str, found: Mapping[str, tuple[int, float]], target: str) -> None:
    """Copies files from a store that are not here yet, or were changed since.

    Args:
        source: remote directory.
        found: size and time of change of each file, by its path in it; see `files.remote_listing`.
        target: local directory.
    """
    needed = [name for name, state in found.items() if _state(os.path.join(target, name)) != _rounded(*state)]
    if not needed:
        return
    size = sum(found[name][0] for name in needed)
    log.info("%s: copying %s files here, %s bytes", source, f"{len(needed):,}", f"{size:,}")
    _make_room(size, source)

    def copy(name: str) -> None:
        final = pathlib.Path(target, name)
        partial = final.with_name(f".{uuid.uuid4().hex}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with files.open_binary(files.join(source, name)) as there, open(partial, "wb") as here:
                shutil.copyfileobj(there, here, 1 << 20)
            if (size := partial.stat().st_size) != found[name][0]:
                raise MalTfError(
                    f"{files.join(source, name)}: expected {found[name][0]:,} bytes, as listed, found {size:,}; try again"
                )
            os.utime(partial, (found[name][1], found[name][1]))
            os.replace(partial, final)
        finally:
            partial.unlink(missing_ok=True)

    with concurrent.futures.ThreadPoolExecutor(_REQUESTS) as pool:
        # What says that a directory is complete comes last.
        last = [name for name in needed if os.path.basename(name) == "saved_model.pb"]
        for part in ([name for name in needed if name not in last], last):
            list(pool.map(copy, part))


def upload(source: str, names: Collection[str], target: str) -> None:
    """Copies local files to a store, `saved_model.pb` after all others.

    Args:
        source: local directory.
        names: paths of the files in it.
        target: remote directory.
    """

    def copy(name: str) -> None:
        with open(os.path.join(source, name), "rb") as here, files.created(files.join(target, name)) as there:
            shutil.copyfileobj(here, there, 1 << 20)

    with concurrent.futures.ThreadPoolExecutor(_REQUESTS) as pool:
        last = [name for name in names if os.path.basename(name) == "saved_model.pb"]
        for part in ([name for name in names if name not in last], last):
            list(pool.map(copy, part))


def _root() -> pathlib.Path:
    return pathlib.Path(os.environ.get(_DIRECTORY) or pathlib.Path.home() / ".cache" / "mal-tf")


def _state(path: str) -> tuple[int, float] | None:
    """Size and time of change of a local file; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return _rounded(status.st_size, status.st_mtime)


def _rounded(size: int, changed: float) -> tuple[int, float]:
    return size, round(changed, 3)


def _make_room(size: int, source: str) -> None:
    """Deletes copies that no process uses, the oldest first, until there is room for some bytes.

    Raises:
        MalTfError: there is not enough room.
    """
    root = _root()
    root.mkdir(parents=True, exist_ok=True)
    entries = sorted(root.glob(f"*/{_USED}"), key=lambda path: path.stat().st_mtime)
    sizes = {path.parent: sum(files.listing(str(path.parent)).values()) for path in entries}
    free, taken = shutil.disk_usage(root).free, sum(sizes.values())
    given = os.environ.get(_LIMIT)
    try:
        limit = int(float(given) * _GB) if given else taken + free * 9 // 10
    except ValueError as error:
        raise MalTfError(f"{_LIMIT}: expected a number of gigabytes, found '{given}'") from error
    for entry in sizes:
        if taken + size <= limit:
            break
        if entry not in _used and _unused(entry):
            shutil.rmtree(entry, ignore_errors=True)
            taken -= sizes[entry]
    if taken + size > limit:
        raise MalTfError(
            f"{source}: expected room for {size / _GB:.3g} GB in {root}, found {max(limit - taken, 0) / _GB:.3g} GB. Set "
            f"{_LIMIT} to a higher limit, or {_DIRECTORY} to a directory on a larger disk"
        )


def _unused(entry: pathlib.Path) -> bool:
    with open(entry / _USED) as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
