"""Object stores by Beam's filesystems: options before the first file, uploads that are whole or absent, errors that say so."""

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast

from features.errors import MalTfError

#: `apache_beam.io.filesystem.CompressionTypes.UNCOMPRESSED`.
_UNCOMPRESSED = "uncompressed"

#: Bytes of an upload that are held in memory before they go to a temporary file.
_IN_MEMORY = 64 << 20

#: Bytes that clients upload in one request, so that they are whole or absent.
_ONE_REQUEST = 4 << 20

#: What the filesystem of a scheme needs beside mal-tf's own requirements.
_EXTRAS = {
    "s3": "boto3: pip install 'mal-tf[s3]'",
    "hdfs": "a package: pip install 'apache-beam[hadoop]'",
    "azfs": "packages: pip install 'apache-beam[azure]'",
}


def filesystems() -> Any:
    """Returns Beam's filesystems, imported when they are first needed: `predict` on local files does without their memory."""
    from apache_beam.io.filesystems import FileSystems

    if FileSystems._pipeline_options is None:  # s3:// and hdfs:// fail without any; a command's flags have set them.
        from apache_beam.options.pipeline_options import PipelineOptions

        use_options(PipelineOptions([]))
    return FileSystems


def use_options(options: Any) -> None:
    """Has Beam's filesystems use `PipelineOptions`, such as those of the flag --s3_endpoint_url, from now on."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    if os.environ.get("STORAGE_EMULATOR_HOST"):  # It has no accounts, for which Beam would search half a minute.
        options.view_as(GoogleCloudOptions).no_auth = True
    logging.getLogger().addFilter(_not_of_s3io)
    FileSystems.set_options(options)


def _not_of_s3io(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger is not of Beam's S3 client, which logs the traceback of what it raises."""
    return record.module != "s3io"


def refuse(path: str, what: str, remedy: str) -> None:
    """Refuses a path on an object store, for what only works with local ones.

    Args:
        path: the path.
        what: name of the flag or config key that it was given by.
        remedy: what to do instead.

    Raises:
        MalTfError: the path is not local.
    """
    if "://" in path:
        raise MalTfError(f"{what}: expected a local path, found {path}; {remedy}")


@contextlib.contextmanager
def remote_errors(action: str, path: str) -> Iterator[None]:
    """Converts exceptions of a remote filesystem's client to `MalTfError`.

    Args:
        action: past participle that completes "can't be …" in the message.
        path: remote file or directory.
    """
    try:
        yield
    except MalTfError:
        raise
    except Exception as error:
        scheme = path.partition("://")[0]
        if scheme in _EXTRAS and not _is_known(scheme):
            raise MalTfError(f"{path} can't be {action}: {scheme}:// needs {_EXTRAS[scheme]}") from error
        raise MalTfError(
            f"{path} can't be {action}: {_innermost(error)}. Check the path, your credentials (gs://: `gcloud auth "
            "application-default login`; s3://: those of the AWS tools) and the network."
        ) from error


def _is_known(scheme: str) -> bool:
    """Whether the packages that a scheme needs are installed."""
    from apache_beam.io.filesystem import FileSystem

    if scheme == "s3":  # Its filesystem is there without its client.
        from apache_beam.io.aws.clients.s3 import boto3_client

        return boto3_client.boto3 is not None
    return any(one.scheme() == scheme for one in FileSystem.get_all_subclasses())


def opened(path: str) -> IO[bytes]:
    """Opens a remote file for reading; what fails later in the client is a `MalTfError`, too, and no damaged file."""
    with remote_errors("read", path):
        file = filesystems().open(path, compression_type=_UNCOMPRESSED)
        return cast(IO[bytes], io.BufferedReader(_Reader(file, path)))


class _Reader(io.RawIOBase):
    """Reads from a remote file, converting the exceptions of its client."""

    def __init__(self, file: IO[bytes], path: str):
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer) -> int:
        with remote_errors("read", self._path):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with remote_errors("read", self._path):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextlib.contextmanager
def created(path: str) -> Iterator[IO[bytes]]:
    """Opens a remote file for writing. It is uploaded when the block ends, and not at all if that raises.

    An upload that fails midway leaves no file, as the client would make one of what it was given by then.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        yield cast(IO[bytes], spool)
        size = spool.tell()
        spool.seek(0)
        with remote_errors("written", path):
            before = _changed(path) if size > _ONE_REQUEST else None
            try:
                with filesystems().create(path, compression_type=_UNCOMPRESSED) as file:
                    shutil.copyfileobj(spool, file, 1 << 20)
            except BaseException:
                with contextlib.suppress(Exception):
                    if size > _ONE_REQUEST and _changed(path) != before:
                        filesystems().delete([path])
                raise


def _changed(path: str) -> float | None:
    """When a remote file was last written; None if it does not exist."""
    return filesystems().last_updated(path) if filesystems().exists(path) else None


def _innermost(error: BaseException) -> str:
    """Formats the innermost exception that Beam wrapped as one line."""
    while details := getattr(error, "exception_details", None):
        error = next(iter(details.values()))
        if not isinstance(error, BaseException):
            return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
