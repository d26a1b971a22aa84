"""NumPy and Arrow helpers for events grouped by a key: composite keys, ranges (CSR), codes and hashes of values."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def composite_keys(groups: Sequence[np.ndarray], times: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Folds (group, time) pairs of several arrays into int64 keys that order and compare like the pairs.

    Groups that would not fit are replaced by their ranks among those that occur, and so are times, if they still don't.

    Args:
        groups: non-negative int64 arrays.
        times: int64 arrays of the same lengths.

    Returns:
        One int64 array per pair of arrays. A key minus or plus d stands for the same group d time units away, as long
        as the result stays within one unit of the times seen and times are no ranks.
    """
    non_empty = [t for t in times if t.size]
    if not non_empty:
        return [np.zeros(0, np.int64) for _ in times]
    start = min(int(t.min()) for t in non_empty) - 1
    span = max(int(t.max()) for t in non_empty) - start + 2
    count = max(int(g.max()) for g in groups if g.size) + 1
    if count * span >= 2**63:
        occurring, ranks = np.unique(np.concatenate(groups), return_inverse=True)
        groups, count = np.split(ranks, np.cumsum([g.size for g in groups])[:-1]), occurring.size
    if count * span >= 2**63:
        occurring, ranks = np.unique(np.concatenate(times), return_inverse=True)
        times, start, span = np.split(ranks, np.cumsum([t.size for t in times])[:-1]), -1, occurring.size + 1
    return [g * span + (t - start) for g, t in zip(groups, times, strict=True)]


def flatten_ranges(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates the integer ranges `starts[i] … starts[i] + lengths[i] - 1`.

    Returns:
        offsets: int64 [n + 1], where each range begins in `index`.
        index: int64 [sum of lengths].
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    index = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], lengths)
    return offsets, index


def first_of_each(lists: pa.ListArray, length: int) -> pa.ListArray:
    """The first `length` values of each list."""
    bounds = lists.offsets.to_numpy().astype(np.int64)
    offsets, index = flatten_ranges(bounds[:-1], np.minimum(np.diff(bounds), length))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lists.values.take(pa.array(index)))


def codes(*columns: pa.Array) -> list[np.ndarray]:
    """Encodes the values of several columns as integers with one common numbering, in sorted order (text by its bytes).

    Args:
        columns: string or int64 arrays of one type, without nulls.

    Returns:
        One int64 array per column. Equal values have equal codes, a smaller value has a smaller code.
    """
    encoded = pa.chunked_array(columns).combine_chunks().dictionary_encode()
    rank = np.empty(len(encoded.dictionary), np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(rank.size)
    all_codes = rank[encoded.indices.to_numpy()]
    return np.split(all_codes, np.cumsum([len(column) for column in columns])[:-1])


def id_codes(column: pa.Array) -> np.ndarray:
    """Encodes ids as `codes` does, but text that is an integer in the order of the numbers, before other text."""
    encoded = column.dictionary_encode()
    ids = encoded.dictionary
    (rank,) = codes(ids)
    if pa.types.is_string(ids.type):
        number = np.asarray(pc.match_substring_regex(ids, r"^(?:0|-?[1-9][0-9]*)$"))
        if number.any():
            # Of numbers with equal signs, the longer is the larger, and of equally long ones the later in text.
            sign = np.where(np.asarray(pc.starts_with(ids, "-")), -1, 1)
            kind = np.where(number, sign, 2)
            length = np.where(number, sign * pc.binary_length(ids).to_numpy().astype(np.int64), 0)
            order = np.lexsort((np.where(number, sign * rank, rank), length, kind))
            rank[order] = np.arange(rank.size)
    return rank[encoded.indices.to_numpy()]


def stable_hash(column: pa.Array) -> np.ndarray:
    """uint64 hashes of values, the same in every process. Null is hashed as a value of its own."""
    encoded = column.dictionary_encode(null_encoding="encode")
    # Hashed as text, because a null among integers would turn them all into floats.
    values = encoded.dictionary.cast(pa.string()).to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values.astype(object), categorize=False)[encoded.indices.to_numpy()]


def flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as one contiguous array; copies only where there are several chunks."""
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
