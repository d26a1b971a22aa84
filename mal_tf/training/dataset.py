"""The input: labelled TFRecords in time order to batches of rows and labels."""

from collections.abc import Sequence

from features.keras2 import keras, tf
from features.parsing import parse_features
from features.spec import FeatureSpec

#: Records taken from a file before the next file's turn.
_BLOCK = 16


def serialized(segments: Sequence[Sequence[str]], batch_size: int) -> tf.data.Dataset:
    """Batches of serialized tf.Examples, string [batch], in time order.

    Segments follow each other; within one, its files, each sorted by time, are read in turns. The order is always the
    same.

    Args:
        segments: files of each segment, as many in each.
        batch_size: examples per batch; the last batch may be smaller.
    """

    def of_segment(files: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP"),
            cycle_length=max(len(segments[0]), 1),
            block_length=_BLOCK,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    matrix = tf.constant([list(files) for files in segments], tf.string)
    return tf.data.Dataset.from_tensor_slices(matrix).flat_map(of_segment).batch(batch_size)


def batches(
    segments: Sequence[Sequence[str]], spec: FeatureSpec, lookup: keras.Model, targets: Sequence[str], batch_size: int
) -> tf.data.Dataset:
    """Batches of (rows by feature, labels by target and `mature`), in time order.

    Args:
        segments: see `serialized`.
        spec: features.
        lookup: raw values → rows (`features.lookup.lookup_model`).
        targets: mechanisms whose labels are read.
        batch_size: examples per batch.
    """
    extra = [*((f"label_{target}", "float32") for target in targets), ("mature", "int64")]

    def split(examples: tf.Tensor) -> tuple[dict, dict]:
        parsed = parse_features(examples, spec, extra)
        labels = {name.removeprefix("label_"): parsed.pop(name) for name, _ in extra}
        return lookup(parsed), labels

    dataset = serialized(segments, batch_size)
    return dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
