"""Gzipped TFRecords that can be cut between two records without breaking one."""

import gzip
import io
import zlib
from collections.abc import Sequence

from features.tfrecord import frame


def flushed(records: Sequence[bytes], at: int) -> tuple[bytes, int]:
    """The gzipped records, and the number of bytes after which the first `at` of them are complete."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as stream:
        stream.write(frame(records[:at]))
        stream.flush(zlib.Z_FULL_FLUSH)
        end = out.tell()
        stream.write(frame(records[at:]))
    return out.getvalue(), end
