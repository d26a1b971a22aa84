"""Stage directories, which are complete if and only if they hold `manifest.json`.

On object stores, where nothing can be renamed, the files of a stage lie in a folder of its directory, a *generation*, that its
manifest names. A stage that runs again writes another generation; what was finished stays until the new manifest replaces the
old one, as a single object.
"""

import contextlib
import datetime
import hashlib
import json
import logging
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from features.errors import MalTfError
from pipelines.core import files
from pipelines.core.locks import LOCK

log = logging.getLogger("mal_tf.run")

MANIFEST = "manifest.json"
MARK = "_INCOMPLETE"

#: Key of a stage's result with entries of files that it wrote outside of its directory; paths are relative to the directory.
ELSEWHERE = "elsewhere"

#: Key of a manifest with the fingerprint of the inputs of its stage.
MADE_FROM = "made_from"

#: Key of a manifest with the `digest` of each stage, by name, that the stage was made from.
AFTER = "after"

#: Key of a manifest on an object store with the name of the folder that holds the files, and how such names begin.
GENERATION, _GENERATION = "generation", "generation-"

#: Number of directories between a file and the root of its stage, at most.
_DEPTH = 4


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
    if not files.exists(files.join(directory, MANIFEST)):
        raise MalTfError(
            f"{directory}: expected {expected}, found no {MANIFEST}: it did not finish, or the path is wrong"
        )
    found = content(directory)
    if found is None:
        raise MalTfError(f"{directory}: expected {expected}, found an empty or cut {MANIFEST}; run the stage again")
    if not _is_ours(found):
        raise MalTfError(f"{directory}: expected {expected}, found a {MANIFEST} that mal-tf did not write")
    return found


def content(directory: str) -> dict | None:
    """Returns the content of a manifest: {} if there is none, or another tool's; None if it is empty or cut, as by a crash."""
    path = files.join(directory, MANIFEST)
    if not files.exists(path) or (files.is_local(path) and os.path.isdir(path)):
        return {}
    data = files.read_bytes(path)
    try:
        found = json.loads(data.decode())
        whole = not _is_ours(found) or all(
            isinstance(e["path"], str) and isinstance(e["bytes"], int) for e in entries(found)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found, whole = None, False
    if whole:
        return found if isinstance(found, dict) else {}
    if data.strip(b"\0 \r\n\t") and not _tells_origin(data) and not data.startswith(b'{\n "'):
        return {}  # Of another tool, and no JSON.
    log.warning("%s: expected JSON, found an empty or cut file; the stage counts as unfinished", path)
    return None


def _is_ours(found: Any) -> bool:
    return isinstance(found, dict) and "made_from" in found


def _tells_origin(data: bytes) -> bool:
    return data.startswith(b"{") and b'"made_from"' in data


def _is_own(directory: str) -> bool:
    """Whether a manifest, even if cut, says that mal-tf made the directory; other tools write files of that name, too."""
    found = content(directory)
    return _tells_origin(files.read_bytes(files.join(directory, MANIFEST))) if found is None else _is_ours(found)


def new_place(directory: str) -> str:
    """The directory that a stage is to write its files to: the stage's own, or a new generation in it on an object store."""
    if files.is_local(directory):
        return directory
    moment = datetime.datetime.now(datetime.timezone.utc)
    return files.join(directory, f"{_GENERATION}{moment:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}")


def place(directory: str, manifest: dict | None = None) -> str:
    """The directory that holds the files of a stage, as its manifest says: its own, or a generation on an object store."""
    if files.is_local(directory):
        return directory
    generation = (content(directory) if manifest is None else manifest) or {}
    return files.join(directory, generation[GENERATION]) if GENERATION in generation else directory


def _parts(place: str) -> tuple[str, str]:
    """A stage's directory and the name of the generation, empty for a local one, from the directory that it writes to."""
    directory, _, name = place.rstrip("/").rpartition("/")
    return (place, "") if files.is_local(place) or not name.startswith(_GENERATION) else (directory, name)


def digest(manifest: dict) -> str:
    """Returns a hash of what a stage was made from and of what it made, from its manifest."""
    made = [[entry["path"], entry.get("sha256", entry["bytes"])] for entry in entries(manifest) + elsewhere(manifest)]
    return fingerprint(manifest.get("made_from"), made)


def made_from(directory: str) -> str:
    """Returns the fingerprint of the inputs of a finished stage."""
    return read(directory)["made_from"]


def is_finished(directory: str, made_from: str) -> bool:
    """Whether the stage in `directory` is complete, has this fingerprint, and still has all its files at their recorded sizes."""
    manifest = content(directory)
    if manifest is None or manifest.get("made_from") != made_from:
        return False
    sizes = files.listing(place(directory, manifest))
    return all(sizes.get(entry["path"]) == entry["bytes"] for entry in entries(manifest))


def entry_of(path: str) -> dict | None:
    """The entry of a local file in the manifest of the stage that wrote it; None if no manifest of mal-tf's lists it."""
    place = pathlib.Path(path).resolve()
    for parent in list(place.parents)[:_DEPTH]:
        if _is_ours(found := content(str(parent)) or {}):
            name = place.relative_to(parent).as_posix()
            return next((entry for entry in entries(found) if entry["path"] == name), None)
    return None


def rows_of(path: str) -> int | None:
    """Number of rows that the manifest of a local file says it has; None if no manifest does."""
    return (entry_of(path) or {}).get("rows")


def entries(manifest: dict) -> list[dict]:
    """The entries of all files that a manifest lists."""
    return [entry for key in ("files", "other_files") for entry in manifest.get(key, [])]


def elsewhere(manifest: dict) -> list[dict]:
    """The entries of files that a stage wrote outside of its directory; see `ELSEWHERE`."""
    result = manifest.get("result")
    return result.get(ELSEWHERE, []) if isinstance(result, dict) else []


def describe(directory: str, paths: Iterable[str]) -> list[dict]:
    """Entries of files in a manifest: path, size in bytes and SHA-256 hash of each.

    Args:
        directory: the stage's directory.
        paths: paths of the files, relative to it.
    """
    places = {path: files.join(directory, path) for path in paths}
    return [{"path": path, "bytes": files.size(at), "sha256": files.sha256(at)} for path, at in places.items()]


def check_file(directory: str, path: str) -> None:
    """Checks that a file of a finished stage is as it was written, as far as the manifest tells.

    Args:
        directory: the stage's directory.
        path: path of the file, relative to it.

    Raises:
        MalTfError: the file was changed, cut or deleted since.
    """
    listed = content(directory) or {}
    at = files.join(place(directory, listed), path)
    for entry in [*entries(listed), *elsewhere(listed)]:
        if entry["path"] != path:
            continue
        same = files.exists(at) and files.size(at) == entry["bytes"]
        if not same or ("sha256" in entry and files.sha256(at) != entry["sha256"]):
            raise MalTfError(
                f"{at}: expected the file as it was written, but it was changed, cut or deleted since; run the stage again"
            )


def begin(place: str, overwrite: bool) -> None:
    """Empties the directory of a stage and marks it as an incomplete one of mal-tf's; the lock file stays.

    On an object store, what is finished stays as it is, and the mark says which generation is being written. A job that was
    writing another can't finish it any more.

    Args:
        place: the stage's directory, or what `new_place` returned for it.
        overwrite: whether a finished stage may be replaced.

    Raises:
        MalTfError: the directory holds a finished stage and `overwrite` is not set, or files of which neither a manifest nor
            the mark of an incomplete directory says that mal-tf wrote them. Or a file is in its place.
    """
    directory, generation = _parts(place)
    _check_no_file(directory)
    mark, manifest = (files.join(directory, name) for name in (MARK, MANIFEST))
    own = _is_own(directory)
    if own and not overwrite and content(directory) is not None:
        raise MalTfError(f"{directory} is finished already; choose another output or pass --overwrite")
    if not own and not files.exists(mark) and not files.is_empty(directory, ignore=LOCK):
        if content(directory) is None:
            raise MalTfError(
                f"{manifest} is empty or cut, and does not say that mal-tf made {directory}. If mal-tf did, delete that "
                "directory and run again; otherwise choose another output"
            )
        raise MalTfError(f"{directory} is not empty and was not made by mal-tf; choose another output")
    # From here on the directory is unfinished, and marked as mal-tf's even if the removal is interrupted.
    if generation:
        if files.exists(mark):
            log.warning("%s: another job is writing there, or was left unfinished; it can't finish any more", directory)
        files.write_text(mark, f"{generation} is being written, or was left unfinished.\n")
        return
    files.write_text(mark, "This directory is being written, or was left unfinished. Readers must not use it.\n")
    files.delete(manifest)
    files.clear(directory, keep=(MARK, LOCK))


def _check_no_file(directory: str) -> None:
    """Checks that neither the directory nor one that it is to be made in is a file."""
    path = pathlib.Path(directory)
    for place in (path, *path.parents) if files.is_local(directory) else ():
        if place.exists() and not place.is_dir():
            raise MalTfError(f"{place}: expected a directory, found a file; move it away, or choose another output")


def finish(place: str, manifest: dict) -> None:
    """Finishes a stage by writing its manifest as the last file, then removes the mark of an incomplete directory.

    On an object store, everything but the files of this generation is then deleted. Repeating a call does nothing more.

    Args:
        place: the directory that `begin` was called with.
        manifest: what the stage states; `made_from`, the fingerprint of its inputs, says that the directory is mal-tf's.

    Raises:
        MalTfError: another job has begun to write since, on an object store.
    """
    directory, generation = _parts(place)
    mark = files.join(directory, MARK)
    if generation:
        begun = files.read_text(mark) if files.exists(mark) else ""
        if not begun.startswith(f"{generation} "):
            if (content(directory) or {}).get(GENERATION) == generation:
                return
            raise MalTfError(
                f"{directory}: expected {generation} to be what is being written, found {begun.split(' ')[0] or 'nothing'}: "
                "another job writes there, or has finished. What is finished stays; let one job at a time write to a place"
            )
        manifest = manifest | {GENERATION: generation}
    write(directory, manifest)
    if generation:
        files.clear(directory, keep=(MARK, MANIFEST, generation))
    files.delete(mark)


def write(directory: str, manifest: Mapping[str, Any]) -> None:
    """Writes a manifest."""
    files.write_text(files.join(directory, MANIFEST), json.dumps(manifest, indent=1, sort_keys=True) + "\n")


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
