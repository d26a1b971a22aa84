"""Input pipeline from labelled TFRecords, in time order, to batches of embedding rows and labels."""

from collections.abc import Sequence

from features.keras2 import keras, tf
from features.parsing import parse_features
from features.spec import FeatureSpec
from mal_tf.training.delayed_feedback import COUNTS, Immature
from mal_tf.training.replicas import WHOLE, Part, filled_shares, most_rows, shares

#: Consecutive records of a file in the round-robin over files.
_BLOCK = 16


def serialized(segments: Sequence[Sequence[str]], batch_size: int, skip: int = 0) -> tf.data.Dataset:
    """Batches of serialized tf.Examples, string [batch], in time order.

    Segments are read one after the other. The files of a segment, each sorted by time, are read round-robin. The order is
    deterministic.

    Args:
        segments: files of each segment.
        batch_size: examples per batch; the last batch may be smaller.
        skip: number of examples of the first segment to skip.
    """
    if not skip:
        return _blocks(segments).rebatch(batch_size)
    rest = _blocks(segments[:1]).unbatch().skip(skip).batch(_BLOCK)
    return rest.concatenate(_blocks(segments[1:])).rebatch(batch_size)


def _blocks(segments: Sequence[Sequence[str]]) -> tf.data.Dataset:
    """Blocks of records, string [≤ 16], which are cheaper to process than single records."""
    most_files = max(map(len, segments), default=1)

    def read_segment(files: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(files).interleave(
            lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP").batch(_BLOCK),
            cycle_length=most_files,
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    rows = tf.ragged.constant([list(files) for files in segments], tf.string, ragged_rank=1)
    return tf.data.Dataset.from_tensor_slices(rows).flat_map(read_segment)


def label_columns(targets: Sequence[str], immature: Immature | None = None) -> list[tuple[str, str]]:
    """Name and dtype of the columns that training reads beside the features, see `features.parsing.parse_features`."""
    columns = [*((f"label_{target}", "float32") for target in targets), ("mature", "int64")]
    return columns if immature is None else [*columns, ("timestamp", "int64"), ("user_id", "string")]


def batches(
    segments: Sequence[Sequence[str]],
    spec: FeatureSpec,
    lookup: keras.Model,
    targets: Sequence[str],
    batch_size: int,
    part: Part = WHOLE,
    immature: Immature | None = None,
) -> tf.data.Dataset:
    """Batches of (rows by feature, labels by target and `mature`), in time order.

    Args:
        segments: files of each segment, see `serialized`.
        spec: features.
        lookup: model from raw values to rows (`features.lookup.lookup_model`).
        targets: mechanisms whose labels are read.
        batch_size: examples per batch.
        part: part of the batches that this process reads; all by default.
        immature: how clicks whose window has not closed are trained on; not at all by default.
    """
    columns = label_columns(targets, immature)

    def split(batch: tf.Tensor, own: tf.Tensor | None = None) -> tuple[dict, dict]:
        parsed = parse_features(batch, spec, columns)
        labels = {name.removeprefix("label_"): parsed.pop(name) for name, _ in label_columns(targets)}
        if immature is not None:
            labels = immature.training_labels(labels, parsed.pop("timestamp"), parsed.pop("user_id"))
        if own is not None:
            labels |= {
                key: labels[key] * tf.cast(own, labels[key].dtype) for key in ("mature", COUNTS) if key in labels
            }
        return lookup(parsed), labels

    dataset = serialized(segments, batch_size, part.skip)
    if part.fill and part.shares is not None:
        dataset = filled_shares(dataset, part.shares, part.count, most_rows(batch_size, part.count))
    elif part.shares is not None:
        dataset = shares(dataset, part.shares, part.count)
    return dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
