"""Shares of batches for the replicas of a training, and sums over replicas. Without a strategy there is one replica."""

import dataclasses
import math
from collections.abc import Sequence

from features.keras2 import tf


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a training's batches that one process reads; all by default.

    Attributes:
        skip: number of clicks of the first segment to skip.
        shares: indices of the shares of each batch to read; None for whole batches.
        count: number of shares in a batch, one per replica.
        fill: whether to pad all shares to the same, static number of rows. Padding has no weight in any loss.
    """

    skip: int = 0
    shares: Sequence[int] | None = None
    count: int = 1
    fill: bool = False


#: The part that has all of every batch.
WHOLE = Part()


def total(values: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> list[tf.Tensor | tf.IndexedSlices | None]:
    """Sums each value over the replicas; None stays None."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(values)
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [value for value in values if value is not None]))
    return [None if value is None else next(sums) for value in values]


def shares(examples: tf.data.Dataset, mine: Sequence[int], count: int) -> tf.data.Dataset:
    """Splits every batch into `count` shares of consecutive rows and keeps some, so that all replicas have the same steps.

    Each row is in exactly one share. The sizes of shares differ by at most one row; small batches have empty shares.

    Args:
        examples: batches, any [batch].
        mine: indices of the shares to keep, in order.
        count: number of all replicas.
    """

    def split(batch: tf.Tensor) -> tf.data.Dataset:
        bounds = _bounds(batch, count)
        return tf.data.Dataset.from_tensor_slices(list(mine)).map(lambda i: batch[bounds[i] : bounds[i + 1]])

    return examples.flat_map(split)


def filled_shares(examples: tf.data.Dataset, mine: Sequence[int], count: int, rows: int) -> tf.data.Dataset:
    """Splits batches like `shares`, with all shares padded to `rows` rows, as TPUs require.

    Padding consists of other rows of the batch, which must get no weight. With other padding, embeddings would be looked up
    that are not in the batch, and lazy optimisers would update them.

    Args:
        examples: batches, any [batch].
        mine: indices of the shares to keep, in order.
        count: number of all replicas.
        rows: number of rows of each share, at least `most_rows`.

    Returns:
        Pairs of a share, any [rows], and a mask of its rows that are not padding, bool [rows].
    """

    def split(batch: tf.Tensor) -> tf.data.Dataset:
        bounds = _bounds(batch, count)

        def share(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            places = bounds[i] + tf.range(rows, dtype=tf.int64)
            return tf.gather(batch, tf.minimum(places, tf.size(batch, tf.int64) - 1)), places < bounds[i + 1]

        return tf.data.Dataset.from_tensor_slices(list(mine)).map(share)

    return examples.flat_map(split)


def most_rows(batch_size: int, count: int) -> int:
    """Number of rows of the largest of `count` shares of a batch."""
    return math.ceil(batch_size / count)


def _bounds(batch: tf.Tensor, count: int) -> tf.Tensor:
    """Index of the first row of each share, then the number of rows: int64 [count + 1]."""
    return tf.range(count + 1, dtype=tf.int64) * tf.size(batch, tf.int64) // count
