"""Encoding of labelled clicks as Arrow batches of list columns and as serialized tf.Examples, without TensorFlow.

tfx-bsl's C++ encoder is not used because it writes the features of a row in the order of a hash map, which differs from
run to run, while the same clicks have to give the same bytes.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.in_memory import typed_columns

#: Rows that `examples` encodes at a time.
_ROWS = 65_536


def to_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Converts scalar columns to list columns, the form that tfx-bsl and TFDV take. Null and NaN become a null list.

    Strings become binary, also those within columns that are lists already.
    """
    return pa.RecordBatch.from_arrays([_as_list(c) for c in batch.columns], batch.schema.names)


def _as_list(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        if pa.types.is_string(column.type.value_type):
            return column.cast(pa.list_(pa.binary()))
        return column
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(~missing)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, mask=np.append(missing, False)), column.drop_null())


def examples(clicks: pd.DataFrame | pa.Table, types: Mapping[str, pa.DataType]) -> np.ndarray:
    """Serializes columns of each click as a tf.Example.

    Args:
        clicks: the columns in `types`, and any others.
        types: Arrow type by column, such as `FeatureSpec.arrow_types`.

    Returns:
        object [clicks] of bytes.

    Raises:
        BadInput: a column is missing or of another type.
    """
    batches = typed_columns(clicks, types).to_batches(_ROWS)
    encoded = [encode(to_lists(batch)) for batch in batches]
    return np.array(list(itertools.chain(*encoded)), object)


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Serializes each row of a batch of list columns (see `to_lists`) as a tf.Example, column by column.

    Features are written in the order of their names, null lists are left out. The wire format is that of
    tensorflow/core/example/*.proto, see https://protobuf.dev/programming-guides/encoding.

    Args:
        batch: columns of type list<binary>, list<int64> or list<float>.
    """
    if not batch.num_rows:
        return []
    parts: list[pa.Array] = []
    run: list[np.ndarray] = []
    for name in sorted(batch.schema.names):
        column = batch[name]
        kind, bounds, data, whole = _values(column)
        present = column.is_valid().to_numpy(zero_copy_only=False)
        lengths = np.where(present, np.diff(bounds), -1)
        header = _Header(name, kind, whole)
        if lengths.min() == lengths.max():
            head = np.frombuffer(header(int(lengths[0])), np.uint8)
            run += [
                np.broadcast_to(head, (len(column), head.size)),
                data[bounds[0] : bounds[-1]].reshape(len(column), -1),
            ]
            continue
        parts += [*_joined(run), _by_length(lengths, header), _binary(bounds, data)]
        run = []
    parts += _joined(run)
    lengths = np.sum([np.diff(_offsets(part)) for part in parts], axis=0)
    examples = pc.binary_join_element_wise(_by_length(lengths, lambda n: b"\x0a" + _varint(n)), *parts, b"")
    return examples.to_numpy(zero_copy_only=False).tolist()


@dataclasses.dataclass(frozen=True)
class _Header:
    """The bytes before the values in an entry of the feature map, as a function of the number of bytes of the values.

    Attributes:
        name: name of the feature.
        kind: tag of the list in the Feature message.
        whole: whether the bytes make up one field of the list, as packed numbers or a single string do.
    """

    name: str
    kind: bytes
    whole: bool

    def __call__(self, length: int) -> bytes:
        """The header for values of `length` bytes; empty for -1, which stands for a null list."""
        if length < 0:
            return b""
        name = self.name.encode()
        field = b"\x0a" + _varint(length) if self.whole and (length or self.kind == _BYTES) else b""
        feature = self.kind + _varint(len(field) + length) + field
        entry = b"\x0a" + _varint(len(name)) + name + b"\x12" + _varint(len(feature) + length) + feature
        return b"\x0a" + _varint(len(entry) + length) + entry


#: Tags of bytes_list (field 1), float_list (2) and int64_list (3) in the Feature message.
_BYTES, _FLOATS, _INTEGERS = b"\x0a", b"\x12", b"\x1a"


def _values(column: pa.ListArray) -> tuple[bytes, np.ndarray, np.ndarray, bool]:
    """Encoded lists: tag, int64 bounds [rows + 1] in the bytes, uint8 bytes, and whether a list is one field of them."""
    lists = column.offsets.to_numpy().astype(np.int64)
    values, lists = column.values.slice(lists[0], lists[-1] - lists[0]), lists - lists[0]  # Only those of the batch.
    if pa.types.is_floating(values.type):
        return _FLOATS, lists * 4, values.to_numpy(zero_copy_only=False).astype("<f4").view(np.uint8), True
    if pa.types.is_integer(values.type):
        offsets, data = _varints(values.to_numpy(zero_copy_only=False))
        return _INTEGERS, offsets[lists], data, True
    if (np.diff(lists)[column.is_valid().to_numpy(zero_copy_only=False)] == 1).all():
        return _BYTES, _offsets(values)[lists], _bytes(values), True
    lengths = np.diff(_offsets(values))
    tagged = pc.binary_join_element_wise(_by_length(lengths, lambda n: b"\x0a" + _varint(n)), values, b"")
    return _BYTES, _offsets(tagged)[lists], _bytes(tagged), False


def _joined(run: list[np.ndarray]) -> list[pa.Array]:
    """A run of headers and values that have one length in all rows, each uint8 [rows, length], as one binary array.

    Joining many short strings would take most of the encoding's time.
    """
    if not run:
        return []
    block = np.concatenate(run, axis=1)
    return [_binary(np.arange(len(block) + 1) * block.shape[1], block.ravel())]


def _binary(bounds: np.ndarray, data: np.ndarray) -> pa.Array:
    buffers = [None, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), bounds.size - 1, buffers)


def _offsets(values: pa.Array) -> np.ndarray:
    """int64 [n + 1]: where each element of a binary array begins in its data buffer."""
    if not len(values):
        return np.zeros(1, np.int64)
    return np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1].astype(
        np.int64
    )


def _bytes(values: pa.Array) -> np.ndarray:
    data = values.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)


def _by_length(lengths: np.ndarray, encode_length: Callable[[int], bytes]) -> pa.Array:
    """Binary array of `encode_length(length)`, which is called once per distinct length."""
    lowest = int(lengths.min(initial=0))
    occurs = np.bincount(lengths - lowest) > 0
    index = (np.cumsum(occurs) - 1)[lengths - lowest]
    encoded = [encode_length(length + lowest) for length in np.flatnonzero(occurs).tolist()]
    return pa.array(encoded, pa.binary()).take(pa.array(index))


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _varints(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base-128 varints of int64 numbers, negative ones as unsigned 64-bit: int64 offsets [n + 1] and uint8 bytes."""
    unsigned = numbers.astype(np.int64).view(np.uint64)
    width = -(-max(int(unsigned.max(initial=0)).bit_length(), 1) // 7)
    shifted = unsigned[:, None] >> (np.arange(width, dtype=np.uint64) * np.uint64(7))
    used = np.maximum((shifted != 0).sum(axis=1), 1)
    groups = (shifted & np.uint64(127)).astype(np.uint8)
    position = np.arange(width)
    groups |= np.where(position < used[:, None] - 1, np.uint8(128), np.uint8(0))
    return np.concatenate([[0], np.cumsum(used)]), groups[position < used[:, None]]
