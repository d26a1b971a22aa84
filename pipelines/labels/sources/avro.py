"""Avro as a format of logs.

Blocks are unpacked here, since fastavro needs further packages for codecs that pyarrow has. The schema that fastavro sees has no
logical types but decimals: of others it makes Python objects, which are slow and fail for all rows where one is out of range.
"""

import bz2
import contextlib
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, ClassVar, cast

import fastavro
import pyarrow as pa

from pipelines.labels.sources.formats import Request, TypedFormat

_MAGIC, _SYNC = b"Obj\x01", 16
_META = {"type": "map", "values": "bytes"}

#: Largest number of rows that are Python objects at a time.
_ROWS = 16_384

_PLAIN = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}

#: Types by the type and the logical type.
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{
        ("long", f"{local}timestamp-{name}s"): pa.timestamp(unit, zone)
        for local, zone in (("", "UTC"), ("local-", None))
        for name, unit in (("milli", "ms"), ("micro", "us"), ("nano", "ns"))
    },
}


class _Beyond(ValueError):
    """A type that no column can have."""


class Avro(TypedFormat):
    """Avro object container files, a block at a time."""

    name: ClassVar[str] = "avro"
    extensions: ClassVar[tuple[str, ...]] = (".avro",)
    errors: ClassVar[tuple[type[Exception], ...]] = (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        OverflowError,
        RecursionError,
        lzma.LZMAError,
        fastavro.schema.SchemaParseException,
        fastavro.schema.UnknownType,
    )

    def schema(self, file: IO[bytes], delimiter: str = ",") -> pa.Schema:
        """See base class."""
        return _Container(file).schema

    def batches(
        self, file: IO[bytes], part: int | None, columns: Sequence[str], request: Request
    ) -> Iterator[pa.RecordBatch]:
        """See base class."""
        container, size = _Container(file), min(request.rows, _ROWS)
        schema = pa.schema([field for field in container.schema if field.name in columns])
        rows = container.rows(schema.names)
        while some := list(itertools.islice(rows, size)):
            yield _batch(some, schema)

    def beyond(self, path: str, error: BaseException) -> str:
        """See base class."""
        return f"{path}: {error}. Write it with a type of its own for each value." if isinstance(error, _Beyond) else ""


class _Container:
    """An Avro file.

    Attributes:
        schema: its columns, of type null where Arrow has no type for them.
    """

    def __init__(self, file: IO[bytes]):
        self._file, self._done = file, 0
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin as Avro files do")
        meta = cast(dict[str, bytes], fastavro.schemaless_reader(file, _META, None))
        self._codec, self._marker = meta.get("avro.codec", b"null").decode(), file.read(_SYNC)
        self._named: dict[str, Any] = {}
        self._record = cast(dict, fastavro.parse_schema(json.loads(meta["avro.schema"]), self._named))
        if not isinstance(self._record, dict) or self._record.get("type") != "record":
            raise ValueError("expected a file of records")
        self._beyond: dict[str, str] = {}
        self.schema = pa.schema([(field["name"], self._column(field)) for field in self._record["fields"]])

    def rows(self, columns: Sequence[str]) -> Iterator[dict]:
        """All rows, with the fields of the given names.

        Raises:
            _Beyond: Arrow has no type for a field.
        """
        for name in columns:
            if name in self._beyond:
                raise _Beyond(f"column '{name}': {self._beyond[name]}")
        fields = [field for field in self._record["fields"] if field["name"] in columns]
        wanted = self._stripped(self._record | {"fields": fields}, set())
        header = io.BytesIO()
        whole = json.dumps(self._stripped(self._record, set()))
        fastavro.schemaless_writer(header, _META, {"avro.schema": whole.encode()})
        head = _MAGIC + header.getvalue() + self._marker
        for count, data in self._blocks():
            block = io.BytesIO(b"".join([head, _zigzag(count), _zigzag(len(data)), data, self._marker]))
            yield from cast(Iterator[dict], fastavro.reader(block, wanted, handle_unicode_errors="surrogateescape"))
            self._done += count

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Number of rows and unpacked bytes of each block."""
        while head := self._file.read(1):
            try:
                count, size = _number(self._file, head), _number(self._file)
                data = _unpacked(self._file.read(size), self._codec) if min(count, size) >= 0 else b""
            except (IndexError, EOFError, OSError, zlib.error, lzma.LZMAError, MemoryError) as error:
                raise ValueError(f"it is cut or damaged after row {self._done:,}: {error}") from error
            if self._file.read(_SYNC) != self._marker:
                raise ValueError(f"it is cut or damaged after row {self._done:,}")
            yield count, data

    def _column(self, field: dict) -> pa.DataType:
        try:
            return self._arrow(field["type"])
        except _Beyond as error:
            self._beyond[field["name"]] = str(error)
            return pa.null()

    def _arrow(self, of: Any, within: tuple[str, ...] = ()) -> pa.DataType:
        """The Arrow type of an Avro type. Raises _Beyond if there is none."""
        if isinstance(of, list):
            some = [one for one in of if one != "null"]
            if len(some) > 1:
                kinds = " and ".join(str(one["type"] if isinstance(one, dict) else one) for one in some)
                raise _Beyond(f"expected one type beside null, found a union of {kinds}")
            return self._arrow(some[0], within) if some else pa.null()
        if isinstance(of, str) and of in within:
            raise _Beyond(f"expected a type that does not contain itself, found {of}")
        of = self._named.get(of, of) if isinstance(of, str) else of
        if isinstance(of, str):
            return _PLAIN[of]
        kind, logical = of["type"], of.get("logicalType")
        if not isinstance(kind, str):
            return self._arrow(kind, within)
        if logical == "decimal" and kind in ("bytes", "fixed"):
            precision, scale = min(int(of["precision"]), 76), int(of.get("scale", 0))
            return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        if kind == "map":
            raise _Beyond("expected values, lists or records, found a map")
        if kind == "array":
            return pa.list_(self._arrow(of["items"], within))
        if kind == "record":
            fields = {}
            for field in of["fields"]:  # Without those that no column can have.
                with contextlib.suppress(_Beyond):
                    fields[field["name"]] = self._arrow(field["type"], (*within, of["name"]))
            return pa.struct(list(fields.items()))
        if kind in ("enum", "fixed"):
            return pa.string() if kind == "enum" else pa.binary(of["size"])
        return _LOGICAL.get((kind, logical)) or self._arrow(kind, within)

    def _stripped(self, of: Any, defined: set[str]) -> Any:
        """An Avro type without logical types but decimals, and with each named type where it occurs first."""
        if isinstance(of, list):
            return [self._stripped(one, defined) for one in of]
        of = self._named.get(of, of) if isinstance(of, str) and of not in defined else of
        if isinstance(of, str):
            return of
        kind = of["type"]
        if not isinstance(kind, str):
            return self._stripped(kind, defined)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            return {"type": kind, inner: self._stripped(of[inner], defined)}
        kept = {key: of[key] for key in ("type", "name", "symbols", "size") if key in of}
        if of.get("logicalType") == "decimal":
            kept |= {key: of[key] for key in ("logicalType", "precision", "scale") if key in of}
        if "name" in of:
            if of["name"] in defined:
                return of["name"]
            defined.add(of["name"])
        if kind == "record":
            fields = [{"name": f["name"], "type": self._stripped(f["type"], defined)} for f in of["fields"]]
            return kept | {"fields": fields}
        return kept if len(kept) > 1 else kind


def _batch(rows: list[dict], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as Arrow columns, with binary columns in place of text that is not UTF-8."""
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        try:
            columns.append(pa.array(values, field.type))
        except UnicodeEncodeError:
            columns.append(pa.array([_as_bytes(value) for value in values], _binary(field.type)))
    return pa.RecordBatch.from_arrays(columns, schema.names)


def _as_bytes(value: Any) -> Any:
    """A value with bytes in place of text."""
    if isinstance(value, dict):
        return {name: _as_bytes(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_bytes(one) for one in value]
    return value.encode(errors="surrogateescape") if isinstance(value, str) else value


def _binary(kind: pa.DataType) -> pa.DataType:
    """A type with bytes in place of text."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _binary(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_binary(kind.value_type))
    return pa.binary() if pa.types.is_string(kind) else kind


def _number(file: IO[bytes], head: bytes = b"") -> int:
    """Reads a variable-length integer whose first byte may have been read already."""
    number = shift = 0
    while True:
        (byte,) = head or file.read(1) or _end()
        number, shift, head = number | (byte & 127) << shift, shift + 7, b""
        if byte < 128:
            return (number >> 1) ^ -(number & 1)


def _end() -> bytes:
    raise EOFError("the file ends within a block")


def _zigzag(number: int) -> bytes:
    """A number ≥ 0 as `_number` reads it."""
    groups, number = [], number << 1
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _unpacked(data: bytes, codec: str) -> bytes:
    if codec == "snappy":
        size = shift = place = 0
        while data[place] > 127:
            size, shift, place = size | (data[place] & 127) << shift, shift + 7, place + 1
        return pa.Codec("snappy").decompress(data[:-4], size | data[place] << shift, asbytes=True)
    if codec == "zstandard":
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    unpack: dict[str, Callable[[bytes], bytes]] = {
        "null": bytes,
        "deflate": lambda packed: zlib.decompress(packed, -zlib.MAX_WBITS),
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
    }
    if codec not in unpack:
        raise ValueError(f"expected codec {', '.join(unpack)}, snappy or zstandard, found {codec}")
    return unpack[codec](data)
