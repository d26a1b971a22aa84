"""Reading of single TFRecord files to their end, so that a file that was cut is noticed."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator

from features import tfrecord
from features.errors import MalTfError
from features.keras2 import tf
from pipelines.core import cache, files

#: Bytes that are decompressed at a time.
_CHUNK = 1 << 20


def read(path: str, size: int, rows: int | None = None) -> Iterator[tf.Tensor]:
    """Yields the records of a TFRecord file, gzipped or not, in batches: string [≤ size].

    TensorFlow takes a gzip stream that is cut, or has an empty member, for one that ends there. Where the number of records
    is unknown, the stream is therefore decompressed a second time, in step.

    Args:
        path: the file.
        size: number of records in a batch.
        rows: number of records that the file should have; None if it is unknown.

    Raises:
        MalTfError: the file is not of TFRecords, is damaged, or has another number of records.
    """
    here = cache.file(path)  # TensorFlow reads neither all stores nor all credentials.
    with open(here, "rb") as file:
        compression = tfrecord.compression(file)
    found = taken = 0
    with _Stream(path, here) if compression and rows is None else contextlib.nullcontext() as stream:
        try:
            for records in tf.data.TFRecordDataset(here, compression).batch(size):
                framed = tfrecord.framed_size(records.numpy())
                found, taken = found + len(records), taken + framed
                if stream:
                    stream.skip(framed)
                yield records
        except tf.errors.DataLossError as error:
            raise MalTfError(f"{path} can't be read as TFRecord: {error.message}") from error
        if stream:
            stream.check_end(found)
    if not compression and taken != (held := files.size(here)):
        raise MalTfError(
            f"{path} can't be read as TFRecord: {found:,} records are {taken:,} bytes, and the file has {held:,}"
        )
    if rows is not None and found != rows:
        raise MalTfError(
            f"{path}: expected {rows:,} records, as its manifest says, found {found:,}; the file was cut or changed. Write it "
            "again, with `labels` if it is a label file."
        )


class _Stream:
    """The decompressed bytes of a gzipped file, all members of it."""

    def __init__(self, path: str, here: str):
        self._path, self._file = path, open(here, "rb")  # noqa: SIM115 - closed by __exit__
        self._stream = gzip.GzipFile(fileobj=self._file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def skip(self, size: int) -> None:
        """Moves on by some bytes, as many as the records have that TensorFlow read."""
        while size:
            size -= len(self._read(min(size, _CHUNK))) or size

    def check_end(self, records: int) -> None:
        """Checks that the stream is complete and that TensorFlow read all of it."""
        rest = 0
        while chunk := self._read(_CHUNK):
            rest += len(chunk)
        if rest:
            raise MalTfError(
                f"{self._path}: expected one gzip stream, found an empty member after {records:,} records, where TensorFlow "
                f"stops reading, and {rest:,} bytes behind it. Write the file again, or join such files without the empty ones."
            )

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise MalTfError(
                f"{self._path}: expected a complete gzip file, found a cut or damaged one: {error}. Write or copy it again."
            ) from error
