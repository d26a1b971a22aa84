"""Labelled clicks as Arrow batches of list columns and as serialized tf.Examples."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow.core.example import example_pb2
from tfx_bsl.coders import example_coder


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
    """Serializes each row of a batch of list columns (see `to_lists`) as a tf.Example; the same row, the same bytes.

    tfx-bsl's C++ encoder writes a row's features in the order of a hash map that differs from row to row and run to run;
    protobuf's deterministic serialization puts them in the order of their names.
    """
    encoded = example_coder.RecordBatchToExamplesEncoder().encode(batch)
    return [m.SerializeToString(deterministic=True) for m in map(example_pb2.Example.FromString, encoded)]
