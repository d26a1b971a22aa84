"""What the replicas of a training have to agree on, each with its share of the batch; without a strategy there is one."""

import dataclasses
import math
from collections.abc import Sequence

from features.keras2 import tf


@dataclasses.dataclass(frozen=True)
class Part:
    """What one process reads of the training's batches; by default all.

    Attributes:
        skip: leave out this many clicks of the first segment.
        shares: which shares of each batch; None for whole batches.
        count: shares in a batch, one per replica.
        fill: give all shares the same, static number of rows; those that fill them up have no weight in any loss.
    """

    skip: int = 0
    shares: Sequence[int] | None = None
    count: int = 1
    fill: bool = False


#: All of every batch.
WHOLE = Part()


def total(values: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> list[tf.Tensor | tf.IndexedSlices | None]:
    """Sum of each value over the replicas; None where it is None."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(values)
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [value for value in values if value is not None]))
    return [None if value is None else next(sums) for value in values]


def shares(examples: tf.data.Dataset, mine: Sequence[int], count: int) -> tf.data.Dataset:
    """Cuts every batch into `count` shares of neighbouring rows and keeps some: so all replicas have the same steps.

    No row is in two shares or in none. Shares differ by a row at most; of a batch of fewer rows some are empty.

    Args:
        examples: batches, any [batch].
        mine: which shares are kept, one after the other.
        count: replicas in all.
    """

    def of_batch(batch: tf.Tensor) -> tf.data.Dataset:
        bounds = _bounds(batch, count)
        return tf.data.Dataset.from_tensor_slices(list(mine)).map(lambda i: batch[bounds[i] : bounds[i + 1]])

    return examples.flat_map(of_batch)


def filled_shares(examples: tf.data.Dataset, mine: Sequence[int], count: int, rows: int) -> tf.data.Dataset:
    """As `shares`, but all of `rows` rows, as TPUs need it: filled up with other rows of the batch, which must have no weight.

    Other rows of the batch, for then no embedding is looked up that is not in the batch: lazy optimisers would move it.

    Args:
        examples: see `shares`.
        mine: see `shares`.
        count: see `shares`.
        rows: of each share, at least `most_rows`.

    Returns:
        Pairs of a share, any [rows], and which of its rows are its own, bool [rows].
    """

    def of_batch(batch: tf.Tensor) -> tf.data.Dataset:
        bounds = _bounds(batch, count)

        def share(i: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            places = bounds[i] + tf.range(rows, dtype=tf.int64)
            return tf.gather(batch, tf.minimum(places, tf.size(batch, tf.int64) - 1)), places < bounds[i + 1]

        return tf.data.Dataset.from_tensor_slices(list(mine)).map(share)

    return examples.flat_map(of_batch)


def most_rows(batch_size: int, count: int) -> int:
    """Rows of the largest of `count` shares of a batch."""
    return math.ceil(batch_size / count)


def _bounds(batch: tf.Tensor, count: int) -> tf.Tensor:
    """Where each share begins, int64 [count + 1]."""
    return tf.range(count + 1, dtype=tf.int64) * tf.size(batch, tf.int64) // count
