"""Files on any filesystem Beam knows (local, gs://, …): whole reads, atomic writes, globs, directories."""

import contextlib
import itertools
import os
import pathlib
import posixpath
import re
import shutil
import uuid
from collections.abc import Collection, Iterator
from typing import IO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from features.errors import MalTfError


def is_local(path: str) -> bool:
    """Whether `path` is on a local disk."""
    return "://" not in path


def resolve(path: str, folder: str) -> str:
    """`path` as it is if absolute or on a named filesystem, otherwise relative to `folder`."""
    if not is_local(path) or os.path.isabs(path):
        return path
    if is_local(folder):
        parts = pathlib.PurePath(path).parts
        ups = len(list(itertools.takewhile("..".__eq__, parts)))
        if not ups:
            return str(pathlib.Path(folder, path).absolute())
        here = os.path.realpath(folder)  # What is above a link is what is above its target.
        return os.path.join(os.path.normpath(os.path.join(here, *parts[:ups])), *parts[ups:])
    scheme, place = folder.split("://", 1)
    return f"{scheme}://{posixpath.normpath(posixpath.join(place, path))}"  # Object stores know no '..'.


def folder(path: str) -> str:
    """The directory a file lies in."""
    return FileSystems.split(path)[0]


def match(patterns: tuple[str, ...]) -> list[tuple[str, int]]:
    """Files that match the globs, sorted by path, without repeats: (path, bytes).

    Raises:
        MalTfError: a glob matches nothing, or its filesystem can't be reached.
    """
    sizes = {}
    for pattern in patterns:
        with _said("listed", pattern):
            matched = FileSystems.match([pattern])[0].metadata_list
        if not matched:
            raise MalTfError(
                f"no file matches '{pattern}'. Correct `sources` in the config; paths are relative to its file."
            )
        sizes.update({metadata.path: metadata.size_in_bytes for metadata in matched})
    return sorted(sizes.items())


def matches(pattern: str) -> bool:
    """Whether a glob matches any file."""
    with _said("listed", pattern):
        return bool(FileSystems.match([pattern])[0].metadata_list)


def open_binary(path: str):
    """Opens a file for reading as it is, without decompression."""
    with _said("read", path):
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def exists(path: str) -> bool:
    """Whether a file exists; a directory only on filesystems that have directories."""
    with _said("looked up", path):
        return FileSystems.exists(path)


def read_bytes(path: str) -> bytes:
    """Whole content of a file."""
    with open_binary(path) as file, _said("read", path):
        return file.read()


def read_text(path: str) -> str:
    """Whole content of a UTF-8 file."""
    return read_bytes(path).decode()


@contextlib.contextmanager
def created(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for writing that appears complete or not at all: object stores do so themselves, local files are renamed."""
    if not is_local(path):
        with (
            _said("written", path),
            FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            yield file
        return
    final = pathlib.Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, final)
    except OSError as error:
        raise MalTfError(
            f"{path}: can't be written: {error.strerror or error}. Free the disk or choose another output."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str, data: bytes) -> None:
    """Writes a whole file; see `created`."""
    with created(path) as file:
        file.write(data)


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 file; see `write_bytes`."""
    write_bytes(path, text.encode())


def delete(path: str) -> None:
    """Deletes a file, if it exists."""
    if exists(path):
        with _said("deleted", path):
            FileSystems.delete([_literal(path)] if is_local(path) else [path])


def modified(path: str) -> float:
    """When a file was last changed, in seconds since 1970."""
    with _said("looked up", path):
        return FileSystems.last_updated(path)


def size(path: str) -> int:
    """Size of a file in bytes."""
    with _said("looked up", path):
        return FileSystems.get_filesystem(path).size(path)


def listing(directory: str) -> dict[str, int]:
    """Sizes of all files under a directory, in bytes, by path relative to it; empty if there is no such directory."""
    root = directory.rstrip("/")
    with _said("listed", directory):
        entries = FileSystems.match([f"{_literal(root)}/**"])[0].metadata_list
    return {m.path[len(root) + 1 :]: m.size_in_bytes for m in entries if not m.path.endswith("/")}


def is_empty(directory: str, but: str) -> bool:
    """Whether there is no file under a directory but perhaps the one called `but`, or no such directory."""
    root = directory.rstrip("/")
    with _said("listed", directory):
        entries = FileSystems.match([f"{_literal(root)}/**"], [2])[0].metadata_list
    return {metadata.path for metadata in entries} <= {f"{root}/{but}"}


def clear(directory: str, keep: Collection[str]) -> None:
    """Deletes the contents of a directory, except for files named in `keep`."""
    if is_local(directory):
        for entry in os.scandir(directory) if os.path.isdir(directory) else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name not in keep:
                os.unlink(entry.path)
        return
    children = {name.partition("/")[:2] for name in listing(directory)} - {(name, "") for name in keep}
    with _said("deleted", directory):  # Filesystems without directories delete all that begins with a path ending in /.
        FileSystems.delete([FileSystems.join(directory, name) + slash for name, slash in sorted(children)])


def _literal(path: str) -> str:
    """A glob that matches just `path`."""
    return re.sub(r"([*?[])", r"[\1]", path)


@contextlib.contextmanager
def _said(done: str, path: str) -> Iterator[None]:
    """Turns an exception of a remote filesystem's client into an error for users; local errors pass unchanged."""
    try:
        yield
    except MalTfError:
        raise
    except Exception as error:
        if is_local(path):
            raise
        raise MalTfError(
            f"{path} can't be {done}: {_innermost(error)}. Check the path, your credentials (gs://: `gcloud auth "
            "application-default login`) and the network."
        ) from error


def _innermost(error: BaseException) -> str:
    """The exception that Beam wrapped, as one line."""
    while details := getattr(error, "exception_details", None):
        error = next(iter(details.values()))
        if not isinstance(error, BaseException):
            return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
