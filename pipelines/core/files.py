"""Reading, writing and listing files on any filesystem that Beam supports, such as local disks and gs://."""

import contextlib
import hashlib
import itertools
import os
import pathlib
import posixpath
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from typing import IO

from features.errors import MalTfError
from pipelines.core import globs, stores
from pipelines.core.stores import filesystems, remote_errors


def is_local(path: str) -> bool:
    """Whether `path` is on a local filesystem."""
    return "://" not in path


def resolve(path: str, folder: str) -> str:
    """Returns `path` unchanged if it is absolute or has a scheme such as gs://, and otherwise joins it to `folder`."""
    if not is_local(path) or os.path.isabs(path):
        return path
    if is_local(folder):
        parts = pathlib.PurePath(path).parts
        ups = len(list(itertools.takewhile("..".__eq__, parts)))
        if not ups:
            return str(pathlib.Path(folder, path).absolute())
        here = os.path.realpath(folder)  # The parent of a symbolic link is that of its target.
        return os.path.join(os.path.normpath(os.path.join(here, *parts[:ups])), *parts[ups:])
    scheme, place = folder.split("://", 1)
    return f"{scheme}://{posixpath.normpath(posixpath.join(place, path))}"  # Object stores don't resolve '..'.


def is_within(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it, whether or not they exist; links of local paths are followed."""
    if is_local(path) != is_local(directory):
        return False
    inner, outer = (os.path.realpath(at) if is_local(at) else at.rstrip("/") for at in (path, directory))
    return inner == outer or inner.startswith(f"{outer.rstrip('/')}/")


def check_apart(output: str, inputs: Iterable[str]) -> None:
    """Checks that writing an output can't overwrite or delete an input, however the two are spelt.

    Args:
        output: file, or directory that is emptied first.
        inputs: files and directories that are read.

    Raises:
        MalTfError: the output is an input, contains one, or lies in one that is a directory.
    """
    for path in inputs:
        both = is_local(path) and os.path.exists(path) and os.path.exists(output)
        linked = both and os.path.samefile(path, output)  # By hard links, too.
        if linked or is_within(path, output) or is_within(output, path):
            raise MalTfError(
                f"output {output}: expected a place apart from what is read, found the input {path}, which would be overwritten "
                "or deleted; choose another output"
            )


def folder(path: str) -> str:
    """Returns the directory that contains a file."""
    return os.path.dirname(path) if is_local(path) else filesystems().split(path)[0]


def join(directory: str, *parts: str) -> str:
    """Joins the parts of a path."""
    return os.path.join(directory, *parts) if is_local(directory) else filesystems().join(directory, *parts)


def match(patterns: tuple[str, ...]) -> list[tuple[str, int]]:
    """Lists the files that match any of the globs as distinct pairs (path, size in bytes), sorted by path; see `globs`.

    Raises:
        MalTfError: a glob matches nothing or a link to nothing, or its filesystem cannot be accessed.
    """
    sizes = {}
    for pattern in patterns:
        if not (matched := _matching(pattern)):
            raise MalTfError(
                f"no file matches '{pattern}'. Fix `sources` in the config; paths are relative to the config file, and `*` "
                "matches no name that begins with . or _"
            )
        sizes.update(matched)
    return sorted(sizes.items())


def matches(pattern: str) -> bool:
    """Whether a glob matches any file."""
    return bool(_matching(pattern))


def _matching(pattern: str) -> dict[str, int]:
    """Sizes of the files that a glob matches. The part of a local path that exists as it is written is no glob."""
    if not is_local(pattern):
        prefix = globs.plain_part(pattern)
        with remote_errors("listed", pattern):
            entries = filesystems().match([pattern if prefix == pattern else f"{prefix}**"])[0].metadata_list
        sizes = {entry.path: entry.size_in_bytes for entry in entries}
        return {path: sizes[path] for path in globs.matching(pattern, sizes)}
    parts = pathlib.PurePath(pattern).parts
    known = next((n for n in range(len(parts), 0, -1) if os.path.exists(os.path.join(*parts[:n]))), 0)
    head, rest = os.path.join("", *parts[:known]), "/".join(parts[known:])
    try:
        names = globs.below(head or ".", rest) if rest else [""]
        return {path: os.path.getsize(path) for path in (os.path.join(head, name) if name else head for name in names)}
    except OSError as error:
        raise MalTfError(f"{error.filename}: can't be listed or read: {error.strerror}") from error


def open_binary(path: str):
    """Opens a file for reading in binary mode, without decompression."""
    return open(path, "rb") if is_local(path) else stores.opened(path)


def exists(path: str) -> bool:
    """Whether a file exists, or a directory on filesystems that have directories."""
    if is_local(path):
        return os.path.exists(path)
    with remote_errors("looked up", path):
        return filesystems().exists(path)


def read_bytes(path: str) -> bytes:
    """Reads a whole file."""
    with open_binary(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Reads a whole UTF-8 file."""
    return read_bytes(path).decode()


@contextlib.contextmanager
def created(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for an atomic write, so that it appears complete or not at all.

    A local file is written under another name and renamed; for object stores see `stores.created`.
    """
    if not is_local(path):
        with stores.created(path) as file:
            yield file
        return
    final = pathlib.Path(path)
    partial = final.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # Otherwise a machine that stops may leave an empty file of the final name.
        os.replace(partial, final)
    except OSError as error:
        raise MalTfError(
            f"{path}: can't be written: {error.strerror or error}. Free disk space or choose another output."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


class Hashed:
    """A writable file that tracks its size and SHA-256 hash."""

    closed = False

    def __init__(self, file: IO[bytes]):
        self._file, self.bytes, self.sha256 = file, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Writes bytes."""
        self.bytes += len(data)
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flushes the file."""
        self._file.flush()


def write_bytes(path: str, data: bytes) -> None:
    """Writes a whole file; see `created`."""
    with created(path) as file:
        file.write(data)


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 file; see `write_bytes`."""
    write_bytes(path, text.encode())


def delete(path: str) -> None:
    """Deletes a file if it exists."""
    if is_local(path):
        pathlib.Path(path).unlink(missing_ok=True)
    elif exists(path):
        with remote_errors("deleted", path):
            filesystems().delete([path])


def modified(path: str) -> float:
    """Returns when a file was last modified, in seconds since 1970."""
    if is_local(path):
        return os.path.getmtime(path)
    with remote_errors("looked up", path):
        return filesystems().last_updated(path)


def size(path: str) -> int:
    """Returns the size of a file in bytes."""
    if is_local(path):
        return os.path.getsize(path)
    with remote_errors("looked up", path):
        return filesystems().get_filesystem(path).size(path)


def sha256(path: str) -> str:
    """Returns the SHA-256 hash of a file in hexadecimal, reading it in pieces."""
    made = hashlib.sha256()
    with open_binary(path) as file:
        while piece := file.read(1 << 20):
            made.update(piece)
    return made.hexdigest()


def listing(directory: str) -> dict[str, int]:
    """Returns the size in bytes of each file under a directory, by relative path; empty if the directory does not exist."""
    if is_local(directory):
        found = {}
        for parent, _, names in os.walk(directory):
            for path in (os.path.join(parent, name) for name in names):
                with contextlib.suppress(FileNotFoundError):  # Removed meanwhile, or a link to nothing.
                    found[os.path.relpath(path, directory)] = os.path.getsize(path)
        return found
    return {path: size for path, (size, _) in remote_listing(directory).items()}


def remote_listing(directory: str) -> dict[str, tuple[int, float]]:
    """Returns size and time of change, in seconds since 1970, of each file under a remote directory, by relative path."""
    root = directory.rstrip("/")
    with remote_errors("listed", directory):
        entries = filesystems().match([f"{_literal(root)}/**"])[0].metadata_list
    listed = (m for m in entries if not m.path.endswith("/"))
    return {m.path[len(root) + 1 :]: (m.size_in_bytes, m.last_updated_in_seconds) for m in listed}


def is_empty(directory: str, ignore: str) -> bool:
    """Whether a directory is missing or holds no file, apart from one named `ignore`."""
    if is_local(directory):
        entries = itertools.chain.from_iterable(
            (os.path.join(parent, name) for name in [*names, *folders]) for parent, folders, names in os.walk(directory)
        )
        return not any(
            path != os.path.join(directory, ignore) and (os.path.islink(path) or not os.path.isdir(path))
            for path in entries
        )
    root = directory.rstrip("/")
    with remote_errors("listed", directory):
        entries = filesystems().match([f"{_literal(root)}/**"], [2])[0].metadata_list
    return {metadata.path for metadata in entries} <= {f"{root}/{ignore}"}


def clear(directory: str, keep: Collection[str]) -> None:
    """Deletes the contents of a directory, except for files named in `keep`, and remote folders named there."""
    if is_local(directory):
        for entry in os.scandir(directory) if os.path.isdir(directory) else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name not in keep:
                os.unlink(entry.path)
        return
    kept = {(name, slash) for name in keep for slash in ("", "/")}
    children = {name.partition("/")[:2] for name in listing(directory)} - kept
    # On object stores, a path that ends in / deletes all objects with that prefix.
    with remote_errors("deleted", directory):
        filesystems().delete([filesystems().join(directory, name) + slash for name, slash in sorted(children)])


def _literal(path: str) -> str:
    """Escapes a path as a glob that matches only itself."""
    return re.sub(r"([*?[])", r"[\1]", path)
