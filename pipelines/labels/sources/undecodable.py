"""Valid Parquet that the installed pyarrow can't decode: what in it, and what reads it."""

import re

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import MalTfError
from pipelines.core import files

#: What pyarrow says of a file that it knows to be beyond it.
_BEYOND = re.compile(
    r"not (yet )?implemented|unrecognized|not recognized|unsupported|not supported|only supports|not built", re.I
)

#: First pyarrow that reads values of an encoding into Arrow.
_ENCODINGS = {"DELTA_LENGTH_BYTE_ARRAY": 12}

#: Types by what pyarrow says of them, with the first pyarrow that reads them.
_TYPES = (
    (r"LogicalType that is not recognized", "a type newer than that, such as float16", 15),
    (r"Unrecognized type: ?2[34]", "string views or binary views", 18),
    (r"Unrecognized type: ?2[56]", "list views", 18),
    (r"only supports 128-bit or 256-bit decimal", "decimals of 32 or 64 bits", 18),
)


def explanation(path: str, error: BaseException) -> str:
    """Says which encoding or type of a Parquet file pyarrow lacks; empty if the error is of another kind."""
    if not _BEYOND.search(str(error)):
        return ""
    for pattern, what, version in _TYPES:
        if re.search(pattern, str(error)):
            return _message(path, what, version, error)
    try:
        with files.open_binary(path) as file:
            encodings = _encodings(pq.ParquetFile(file).metadata)
    except (pa.ArrowException, OSError, MalTfError):
        encodings = {}
    here = int(pa.__version__.split(".")[0])
    newer = {column: name for column, name in encodings.items() if _ENCODINGS.get(name, 0) > here}
    columns = ", ".join(f"'{column}' ({name})" for column, name in newer.items())
    if not newer:
        return _message(path, "something", None, error)
    return _message(path, f"the encoding of column {columns}", max(map(_ENCODINGS.__getitem__, newer.values())), error)


def _encodings(metadata: pq.FileMetaData) -> dict[str, str]:
    """The encoding of `_ENCODINGS` by column, if it has one."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    chunks = (group.column(column) for group in groups for column in range(metadata.num_columns))
    return {chunk.path_in_schema: name for chunk in chunks for name in chunk.encodings if name in _ENCODINGS}


def _message(path: str, what: str, version: int | None, error: BaseException) -> str:
    reads = f"pyarrow {version} or later reads it" if version else "a later pyarrow may read it"
    return (
        f"{path} is Parquet with {what} that pyarrow {pa.__version__} can't read ({error}). Write it again with plain or "
        f"dictionary encoding and plain types (DuckDB: PARQUET_VERSION V1), or use line B of docs/versions.md: {reads}."
    )
