"""Labelled clicks as Arrow batches of list columns and as serialized tf.Examples, without TensorFlow.

tfx-bsl's C++ encoder is not used: it writes a row's features in the order of a hash map, another one each time, and the
same clicks have to give the same bytes.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def to_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turns scalar columns into list columns, as tfx-bsl and TFDV take them: null (or NaN) becomes a null list.

    Strings become binary. List columns stay, their strings become binary.
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


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """Serializes each row of a batch of list columns (see `to_lists`) as a tf.Example, column by column.

    Features come in the order of their names; a null list is left out. Wire format: tensorflow/core/example/*.proto and
    https://protobuf.dev/programming-guides/encoding.

    Args:
        batch: columns list<binary>, list<int64> or list<float>.
    """
    if not batch.num_rows:
        return []
    parts: list[pa.Array] = []
    run: list[np.ndarray] = []
    for name in sorted(batch.schema.names):
        header, values = _entry(name, batch[name])
        block = _block(header, values)
        if block is None:
            parts += [*_joined(run), header, values]
            run = []
        else:
            run.append(block)
    features = pc.binary_join_element_wise(*parts, *_joined(run), b"")
    lengths = np.diff(_offsets(features))
    examples = pc.binary_join_element_wise(_by_length(lengths, lambda n: b"\x0a" + _varint(n)), features, b"")
    return examples.to_numpy(zero_copy_only=False).tolist()


def _block(header: pa.Array, values: pa.Array) -> np.ndarray | None:
    """Entries that are as long in every row as one uint8 array [rows, length]; None where lengths differ."""
    columns = []
    for part in (header, values):
        offsets = _offsets(part)
        lengths = np.diff(offsets)
        if lengths.min() != lengths.max():
            return None
        if lengths[0]:
            data = np.frombuffer(part.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
            columns.append(data.reshape(len(part), -1))
    return np.concatenate(columns, axis=1) if columns else np.empty((len(header), 0), np.uint8)


def _joined(run: list[np.ndarray]) -> list[pa.Array]:
    """A run of blocks as one binary array: joining many short strings is what encoding spends its time on."""
    if not run:
        return []
    block = np.concatenate(run, axis=1)
    offsets = np.arange(len(block) + 1, dtype=np.int32) * np.int32(block.shape[1])
    data = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    return [pa.Array.from_buffers(pa.binary(), len(block), data)]


def _entry(name: str, column: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """One entry of the feature map, per row: all that stands before the values, and the values."""
    kind, offsets, data = _elements(column.values)
    present = column.is_valid().to_numpy(zero_copy_only=False)
    bounds = offsets[column.offsets.to_numpy()]
    lengths = np.where(present, np.diff(bounds), -1)

    def header(length: int) -> bytes:
        if length < 0:
            return b""
        # bytes_list is field 1 of Feature; float_list (2) and int64_list (3) pack their values into field 1 of the list.
        packed = b"\x0a" + _varint(length) if kind != b"\x0a" and length else b""
        feature = kind + _varint(len(packed) + length) + packed
        entry = (
            b"\x0a" + _varint(len(name.encode())) + name.encode() + b"\x12" + _varint(len(feature) + length) + feature
        )
        return b"\x0a" + _varint(len(entry) + length) + entry

    values = pa.Array.from_buffers(pa.binary(), len(column), [None, pa.py_buffer(bounds.astype(np.int32)), data])
    return _by_length(lengths, header), values


def _elements(values: pa.Array) -> tuple[bytes, np.ndarray, pa.Buffer]:
    """Encoded list elements: the list's tag in Feature, int64 offsets of each element, and the bytes."""
    if pa.types.is_floating(values.type):
        data = values.to_numpy(zero_copy_only=False).astype("<f4")
        return b"\x12", np.arange(len(values) + 1) * 4, pa.py_buffer(data)
    if pa.types.is_integer(values.type):
        return b"\x1a", *_varints(values.to_numpy(zero_copy_only=False))
    lengths = np.diff(_offsets(values))
    tagged = pc.binary_join_element_wise(_by_length(lengths, lambda n: b"\x0a" + _varint(n)), values, b"")
    return b"\x0a", _offsets(tagged), tagged.buffers()[2] or pa.py_buffer(b"")


def _offsets(values: pa.Array) -> np.ndarray:
    """int64 [n + 1]: where each element of a binary array begins in its data buffer."""
    if not len(values):
        return np.zeros(1, np.int64)
    return np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1].astype(
        np.int64
    )


def _by_length(lengths: np.ndarray, make: Callable[[int], bytes]) -> pa.Array:
    """Binary array of `make(length)`, made once per distinct length."""
    distinct, place = np.unique(lengths, return_inverse=True)
    return pa.array([make(int(length)) for length in distinct], pa.binary()).take(pa.array(place))


def _varint(number: int) -> bytes:
    offsets, data = _varints(np.array([number], np.int64))
    return data.to_pybytes()[: offsets[1]]


def _varints(numbers: np.ndarray) -> tuple[np.ndarray, pa.Buffer]:
    """Base-128 varints of int64 numbers, negative ones as unsigned 64-bit: int64 offsets and bytes."""
    shifted = numbers.astype(np.int64).view(np.uint64)[:, None] >> (np.arange(10, dtype=np.uint64) * np.uint64(7))
    used = np.maximum((shifted != 0).sum(axis=1), 1)
    groups = (shifted & np.uint64(127)).astype(np.uint8)
    position = np.arange(10)
    groups |= np.where(position < used[:, None] - 1, np.uint8(128), np.uint8(0))
    return np.concatenate([[0], np.cumsum(used)]), pa.py_buffer(groups[position < used[:, None]].tobytes())
