"""Embedding tables of all features of one width, stacked in one variable so that a batch needs a single lookup."""

import itertools
from collections.abc import Mapping, Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class StackedEmbedding(keras.layers.Layer):
    """Embedding tables stacked in a single variable, float [Σ sizes, width].

    Row r of feature f is row o_f + r of the variable, o_f = Σ sizes of the features before f. All lookups, of scalars and
    histories of all features, are one gather, whose gradient is one `tf.IndexedSlices`. Initial values are U(±0.05), as in
    Keras' Embedding. Rows are not checked: a row that is not below the size of its feature reads another feature's table.

    Args:
        sizes: number of rows by feature, in the order of their tables.
        width: width of the embeddings.

    Attributes:
        sizes: number of rows by feature.
        embeddings: the variable.

    Example:
        >>> import mal_tf, tensorflow as tf
        >>> rows = {"item": [tf.constant([1, 2]), tf.constant([[2, 0], [0, 0]])]}
        >>> clicked, history = mal_tf.layers.StackedEmbedding({"item": 3}, width=4)(rows)["item"]
        >>> clicked.shape, history.shape
        (TensorShape([2, 4]), TensorShape([2, 2, 4]))
    """

    def __init__(self, sizes: Mapping[str, int], width: int, **kwargs):
        super().__init__(**kwargs)
        self.sizes, self.width = dict(sizes), width

    @property
    def ends(self) -> list[int]:
        """Row after the last one of each table."""
        return list(itertools.accumulate(self.sizes.values()))

    def row_range(self, feature: str) -> slice:
        """Range of a feature's rows in the variable."""
        end = dict(zip(self.sizes, self.ends, strict=True))[feature]
        return slice(end - self.sizes[feature], end)

    def build(self, shapes):
        """See base class."""
        # Rows are cast after the lookup. With autocast, half precision would cast the whole table in every step.
        shape, options = [sum(self.sizes.values()), self.width], {"experimental_autocast": False}
        self.embeddings = self.add_weight("embeddings", shape, initializer="uniform", **options)
        super().build(shapes)

    def call(self, rows: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, list[tf.Tensor]]:
        """Looks up embeddings.

        Args:
            rows: int32 tensors of any shape by feature, such as [batch] of the scalar and [batch, time] of its histories.

        Returns:
            The same structure with float [..., width].
        """
        # Keras 2 loads a layer called on a structure of one tensor as called on that tensor.
        if not isinstance(rows, Mapping):
            rows = {feature: [rows] for feature in self.sizes}
        cells = [(feature, cell) for feature in self.sizes for cell in rows[feature]]
        flat = tf.concat([tf.reshape(cell, [-1]) + self.row_range(feature).start for feature, cell in cells], axis=0)
        embedded = tf.cast(tf.nn.embedding_lookup(self.embeddings, flat), self.compute_dtype)
        parts = iter(tf.split(embedded, [tf.size(cell) for _, cell in cells]))
        return {
            feature: [tf.reshape(next(parts), [*_shape(cell), self.width]) for cell in rows[feature]]
            for feature in self.sizes
        }

    def get_config(self):
        """See base class."""
        return super().get_config() | {"sizes": dict(self.sizes), "width": self.width}


def _shape(cell: tf.Tensor) -> list[int]:
    """Shape with -1 for the batch, the first axis."""
    return [-1, *cell.shape[1:]]
