"""Files on any filesystem Beam knows (local, gs://, …): whole reads, atomic writes, globs."""

import os
import pathlib
import uuid

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from features.errors import MalTfError


def is_local(path: str) -> bool:
    """Whether `path` is on a local disk."""
    return "://" not in path


def match(patterns: tuple[str, ...]) -> list[tuple[str, int]]:
    """Files that match the globs, sorted by path, without repeats: (path, bytes).

    Raises:
        MalTfError: a glob matches nothing.
    """
    found = {}
    for pattern in patterns:
        matched = FileSystems.match([pattern])[0].metadata_list
        if not matched:
            raise MalTfError(
                f"no file matches '{pattern}'. Mend `sources` in the config; paths are relative to its file."
            )
        found.update({metadata.path: metadata.size_in_bytes for metadata in matched})
    return sorted(found.items())


def open_binary(path: str):
    """Opens a file for reading as it is, without decompression."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def exists(path: str) -> bool:
    """Whether a file or directory is there."""
    return FileSystems.exists(path)


def read_bytes(path: str) -> bytes:
    """Whole content of a file."""
    with open_binary(path) as file:
        return file.read()


def read_text(path: str) -> str:
    """Whole content of a UTF-8 file."""
    return read_bytes(path).decode()


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file that is either complete or absent: object stores do so by themselves, local files by renaming."""
    if not is_local(path):
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        return
    final = pathlib.Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
        os.replace(partial, final)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MalTfError(
            f"{path}: can't be written: {error.strerror or error}. Free the disk or choose another output."
        ) from error


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 file; see `write_bytes`."""
    write_bytes(path, text.encode())


def modified(path: str) -> float:
    """When a file was last changed, in seconds since 1970."""
    return FileSystems.match([path])[0].metadata_list[0].last_updated_in_seconds


def size(path: str) -> int:
    """Bytes of a file."""
    return FileSystems.match([path])[0].metadata_list[0].size_in_bytes
