"""Stacked embedding: the tables of all features of one width as one, so that a batch needs one lookup."""

import itertools
from collections.abc import Mapping, Sequence

from features.keras2 import keras, tf


@keras.utils.register_keras_serializable("mal_tf")
class StackedEmbedding(keras.layers.Layer):
    """Embedding tables one below the other in a single variable, float [Σ sizes, width].

    Row r of feature f is row o_f + r of the variable, o_f = Σ sizes of the features before f. What is looked up in it,
    scalars and histories of all features, is one gather, and its gradient one `tf.IndexedSlices`. Initial values as
    Keras' Embedding: U(±0.05). Rows are not checked: one that is not below its feature's size is another feature's.

    Args:
        sizes: rows by feature, in the order of their tables.
        width: of an embedding.

    Attributes:
        sizes: as given.
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
        """The row after the last one of each table."""
        return list(itertools.accumulate(self.sizes.values()))

    def row_range(self, feature: str) -> slice:
        """Where a feature's rows are in the variable."""
        end = dict(zip(self.sizes, self.ends, strict=True))[feature]
        return slice(end - self.sizes[feature], end)

    def build(self, shapes):
        """See base class."""
        # The rows are cast after the lookup: cast before it, half precision would go over the whole table.
        shape, options = [sum(self.sizes.values()), self.width], {"experimental_autocast": False}
        self.embeddings = self.add_weight("embeddings", shape, initializer="uniform", **options)
        super().build(shapes)

    def call(self, rows: Mapping[str, Sequence[tf.Tensor]]) -> dict[str, list[tf.Tensor]]:
        """Looks up.

        Args:
            rows: by feature, int32 tensors of any shapes: a scalar's [batch], its histories' [batch, time].

        Returns:
            The same structure with float [..., width].
        """
        cells = [(feature, cell) for feature in self.sizes for cell in rows[feature]]
        flat = tf.concat([tf.reshape(cell, [-1]) + self.row_range(feature).start for feature, cell in cells], axis=0)
        found = tf.cast(tf.nn.embedding_lookup(self.embeddings, flat), self.compute_dtype)
        parts = iter(tf.split(found, [tf.size(cell) for _, cell in cells]))
        return {
            feature: [tf.reshape(next(parts), [*_shape(cell), self.width]) for cell in rows[feature]]
            for feature in self.sizes
        }

    def get_config(self):
        """See base class."""
        return super().get_config() | {"sizes": dict(self.sizes), "width": self.width}


def _shape(cell: tf.Tensor) -> list[int]:
    """Static where known but for the batch, the first axis."""
    return [-1, *cell.shape[1:]]
