"""Corrupt TFRecord files: locating the first bad record, and copying a file without its bad records."""

import contextlib
import gzip
import hashlib
import itertools
import json
import logging
import os
import pathlib
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, cast

from features import tfrecord
from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.dataset import wrong_rows
from mal_tf.training.split import Split

log = logging.getLogger("mal_tf.training")

#: Function that parses a batch of records, string [batch], and raises one of `ERRORS` if one is bad.
Parse = Callable[[tf.Tensor], object]

#: Errors that TensorFlow raises at a bad record, or at the end of a file that lacks records; the last one if its message
#: quotes a record that is not valid UTF-8.
ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,
    UnicodeDecodeError,
)

#: Records that are parsed at a time.
_BLOCK = 1024


class Damaged(MalTfError):
    """A file that can't be read to its end.

    Args:
        file: path of the file.
        record: number of the first bad record, from 0.
        reason: what is wrong with the record.
    """

    def __init__(self, file: str, record: int, reason: str):
        super().__init__(
            f"{file}: record {record:,} can't be read: {reason}. Write the file again, or skip such records with "
            "`training.corrupt_records: skip`"
        )
        self.file, self.record, self.reason = file, record, reason


def find(split: Split, parse: Parse) -> Damaged | None:
    """Returns the first bad record in gzipped TFRecord files, or the first that is not there; None if all can be read."""
    for file, rows in split.files:
        number = 0
        for record in _records(file, parse):
            if isinstance(record, str):
                return Damaged(file, number, record)
            number += 1
        if number != rows:
            return Damaged(file, number, f"the file should have {rows:,} records, and has {number:,}")
    if wrong := wrong_rows(split):
        file, _, number = wrong
        return Damaged(file, number, "TensorFlow stops here, at an empty member of the gzip stream")
    return None


@contextlib.contextmanager
def named(split: Split, parse: Parse) -> Iterator[None]:
    """Context in which an error that a bad record raises becomes one that names the file and the record, see `find`."""
    try:
        yield
    except ERRORS as error:
        if damage := find(split, parse):
            raise damage from error
        raise


def leave_out(damage: Damaged, parse: Parse, directory: str) -> None:
    """Copies a file without its bad records, to be read instead of it (see `copies`).

    If the compression or the length of a record is damaged, the rest of the file is lost.

    Args:
        damage: the damaged file, as `find` returned it.
        parse: function that parses a batch of records.
        directory: directory for the copies.
    """
    copy = pathlib.Path(directory) / f"{hashlib.sha256(damage.file.encode()).hexdigest()[:16]}.repaired.gz"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with _appearing(copy) as raw, tfrecord.gzipped(raw, level=2) as out:
        kept = 0
        for block in _blocks(record for record in _records(damage.file, parse) if isinstance(record, bytes)):
            out.write(tfrecord.frame(block))
            kept += len(block)
    entries = copies(directory) | {damage.file: (str(copy), kept)}
    with _appearing(pathlib.Path(directory) / _COPIES) as file:
        file.write(json.dumps(entries).encode())
    log.warning("%s: record %s can't be read: %s; %s records are kept", damage.file, damage.record, damage.reason, kept)


def copies(directory: str) -> dict[str, tuple[str, int]]:
    """The copies in a directory: path and number of records, by the path of the damaged file."""
    path = pathlib.Path(directory) / _COPIES
    return {file: tuple(copy) for file, copy in json.loads(path.read_text()).items()} if path.exists() else {}


_COPIES = "repaired.json"


@contextlib.contextmanager
def _appearing(path: pathlib.Path):
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with open(partial, "wb") as file:
        yield file
    os.replace(partial, path)


def _records(file: str, parse: Parse) -> Iterator[bytes | str]:
    """Yields each record, or a message that says what is wrong with it."""
    for block in _blocks(_framed(file)):
        whole = [record for record in block if isinstance(record, bytes)]
        yield from block if _parses(parse, whole) else (_parsed(parse, record) for record in block)


def _framed(file: str) -> Iterator[bytes | str]:
    try:
        with gzip.open(file) as stream:
            for record in tfrecord.read(cast(IO[bytes], stream)):
                yield "its checksum is wrong" if record is None else record
    except (OSError, EOFError, ValueError, zlib.error) as error:
        yield f"{error}; the rest of the file can't be read"


def _parsed(parse: Parse, record: bytes | str) -> bytes | str:
    if isinstance(record, str) or _parses(parse, [record]):
        return record
    return "it is not a tf.Example with the features and labels of this config"


def _parses(parse: Parse, records: Sequence[bytes]) -> bool:
    with contextlib.suppress(*ERRORS):
        parse(tf.constant(records, tf.string))
        return True
    return False


def _blocks(records: Iterable) -> Iterator[list]:
    records = iter(records)
    return iter(lambda: list(itertools.islice(records, _BLOCK)), [])
