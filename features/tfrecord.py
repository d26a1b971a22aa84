"""Reading and writing of TFRecord files without TensorFlow, many records at once.

A record is `uint64 length, uint32 masked_crc32c(length), data, uint32 masked_crc32c(data)`
(https://www.tensorflow.org/tutorials/load_data/tfrecord). The loop over records runs in C (`map`, `chain`, `join`).
"""

import contextlib
import gzip
import importlib
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Protocol

import google_crc32c
import numpy as np

_isal: Any = None
with contextlib.suppress(ImportError):
    importlib.import_module("isal.isal_zlib")
    _isal = importlib.import_module("isal")

#: Levels at which ISA-L compresses, five times as fast as zlib. Its level 3 writes other bytes with AVX2 and with AVX-512 than
#: without, and its level 0 compresses.
_ISAL_LEVELS = (1, 2)

#: Bytes that ISA-L compresses at a time.
_BLOCK = 1 << 20

_HEADER = np.dtype([("length", "<u8"), ("crc", "<u4")])
_FOOTER = 4


def _masked_crc(blocks: Sequence[bytes]) -> np.ndarray:
    crc = np.fromiter(map(google_crc32c.value, blocks), np.uint32, len(blocks))
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


def frame(records: Sequence[bytes]) -> bytes:
    """Frames serialized records as the bytes of an uncompressed TFRecord file."""
    header = np.empty(len(records), _HEADER)
    header["length"] = np.fromiter(map(len, records), np.uint64, len(records))
    header["crc"] = _masked_crc(header["length"].astype("V8").tolist())
    footer = _masked_crc(records).astype("<u4")
    parts = zip(header.view("V12").tolist(), records, footer.view("V4").tolist(), strict=True)
    return b"".join(itertools.chain.from_iterable(parts))


def framed_size(records: Iterable[bytes]) -> int:
    """Size of `frame(records)` in bytes."""
    sizes = np.fromiter(map(len, records), np.int64)
    return int(sizes.sum()) + sizes.size * (_HEADER.itemsize + _FOOTER)


def compression(file: IO[bytes]) -> str:
    """Compression of a TFRecord file that was just opened, as TensorFlow names it: `GZIP`, or the empty string for none."""
    return "GZIP" if file.read(2) == b"\x1f\x8b" else ""


class Writable(Protocol):
    """A binary file that a compressed stream can write to."""

    def write(self, data: bytes, /) -> int:
        """Writes bytes and returns their number."""

    def flush(self) -> None:
        """Flushes buffered bytes."""


def encoder(level: int) -> str:
    """Names the library that compresses at a level, with its version: another one writes other bytes for the same records."""
    return f"isal {_isal.__version__}" if _isal and level in _ISAL_LEVELS else f"zlib {zlib.ZLIB_RUNTIME_VERSION}"


class _IsalFile:
    """A gzip stream that ISA-L compresses in blocks of one size, as its output depends on where its input is cut."""

    def __init__(self, out: Writable, level: int):
        self._out, self._rest = out, b""
        self._compressor = _isal.isal_zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, data: bytes) -> None:
        """Compresses the whole blocks of what has been written so far."""
        data = self._rest + data
        whole = len(data) // _BLOCK * _BLOCK
        for begin in range(0, whole, _BLOCK):
            self._out.write(self._compressor.compress(memoryview(data)[begin : begin + _BLOCK]))
        self._rest = data[whole:]

    def close(self) -> None:
        """Compresses the rest."""
        self._out.write(self._compressor.compress(self._rest) + self._compressor.flush())


def gzipped(out: Writable, level: int) -> gzip.GzipFile | _IsalFile:
    """A stream into `out`, compressed at gzip's `level`.

    It holds neither time nor name, so equal records give equal bytes, on any processor, if `encoder` is the same.
    """
    if _isal and level in _ISAL_LEVELS:
        return _IsalFile(out, level)
    return gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=out, mtime=0)


class GzippedTFRecords:
    """A compressed TFRecord file in memory.

    Args:
        level: compression level of gzip, 0 to 9.
    """

    def __init__(self, level: int):
        self._out = io.BytesIO()
        self._file = gzipped(self._out, level)

    def write(self, records: Sequence[bytes]) -> None:
        """Appends records."""
        self._file.write(frame(records))

    def close(self) -> bytes:
        """Closes the file and returns its bytes."""
        self._file.close()
        return self._out.getvalue()


def read(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yields the records of an uncompressed TFRecord stream in order, None for one whose checksum is wrong.

    This is a slow Python loop for inspecting damaged files; intact ones are read by TensorFlow.

    Raises:
        EOFError, OSError, zlib.error: the stream ends within a record, or can't be decompressed.
        ValueError: the length of a record is damaged, so that the next record can't be located.
    """
    while head := file.read(_HEADER.itemsize):
        header = np.frombuffer(head.ljust(_HEADER.itemsize, b"\0"), _HEADER)[0]
        if len(head) < _HEADER.itemsize or _masked_crc([head[:8]])[0] != header["crc"]:
            raise ValueError("the length of a record is damaged")
        body = file.read(int(header["length"]) + _FOOTER)
        if len(body) < header["length"] + _FOOTER:
            raise EOFError("the file ends within a record")
        data = body[:-_FOOTER]
        yield data if _masked_crc([data])[0] == int.from_bytes(body[-_FOOTER:], "little") else None
