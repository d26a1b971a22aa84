"""Input pipeline from labelled TFRecords, in time order, to batches of embedding rows and labels."""

from collections.abc import Sequence

from features.keras2 import keras, tf
from features.parsing import parse_features
from features.spec import FeatureSpec
from mal_tf.training.delayed_feedback import COUNTS, Immature
from mal_tf.training.replicas import WHOLE, Part, filled_shares, most_rows, shares
from mal_tf.training.split import Split

#: Consecutive records of a file in the round-robin over files, and records that are counted at a time.
_BLOCK, _COUNTED = 16, 1024


def serialized(split: Split, batch_size: int, skip: int = 0) -> tf.data.Dataset:
    """Batches of serialized tf.Examples, string [batch], in time order.

    Segments are read one after the other. The files of a segment, each sorted by time, are read round-robin. The order is
    deterministic. A file that ends before or after its number of rows, as a cut one does, raises a `FailedPreconditionError`;
    `wrong_rows` names it.

    Args:
        split: files of each segment, and their numbers of rows if these are known.
        batch_size: examples per batch; the last batch may be smaller.
        skip: number of examples of the first segment to skip.
    """
    if not skip:
        return _blocks(split).rebatch(batch_size)
    rest = _blocks(split.chosen([0])).unbatch().skip(skip).batch(_BLOCK)
    return rest.concatenate(_blocks(split.chosen(range(1, len(split.segments))))).rebatch(batch_size)


def _blocks(split: Split) -> tf.data.Dataset:
    """Blocks of records, string [≤ 16], which are cheaper to process than single records."""
    most_files = max(map(len, split.segments), default=1)

    def read_file(file: tf.Tensor, *rows: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(file, compression_type="GZIP")
        for count in rows:
            records = records.apply(tf.data.experimental.assert_cardinality(count))
        return records.batch(_BLOCK)

    def read_segment(*files: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(files).interleave(
            read_file,
            cycle_length=most_files,
            block_length=1,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    columns = [(split.segments, tf.string), *([(split.file_rows, tf.int64)] if split.file_rows else [])]
    ragged = (tf.ragged.constant([list(part) for part in parts], dtype, ragged_rank=1) for parts, dtype in columns)
    return tf.data.Dataset.from_tensor_slices(tuple(ragged)).flat_map(read_segment)


def wrong_rows(split: Split) -> tuple[str, int, int] | None:
    """The first file whose number of records is not that of its rows: path, rows and records; None if all are right.

    This reads all files up to that one.
    """
    for file, rows in split.files if split.file_rows else ():
        blocks = tf.data.TFRecordDataset(file, compression_type="GZIP").batch(_COUNTED).as_numpy_iterator()
        if (found := sum(map(len, blocks))) != rows:
            return file, rows, found
    return None


def label_columns(targets: Sequence[str], immature: Immature | None = None) -> list[tuple[str, str]]:
    """Name and dtype of the columns that training reads beside the features, see `features.parsing.parse_features`."""
    columns = [*((f"label_{target}", "float32") for target in targets), ("mature", "int64")]
    return columns if immature is None else [*columns, ("timestamp", "int64"), ("user_id", "string")]


def batches(
    split: Split,
    spec: FeatureSpec,
    lookup: keras.Model,
    targets: Sequence[str],
    batch_size: int,
    part: Part = WHOLE,
    immature: Immature | None = None,
) -> tf.data.Dataset:
    """Batches of (rows by feature, labels by target and `mature`), in time order.

    Args:
        split: files of each segment, see `serialized`.
        spec: features.
        lookup: model from raw values to rows (`features.lookup.lookup_model`).
        targets: mechanisms whose labels are read.
        batch_size: examples per batch.
        part: part of the batches that this process reads; all by default.
        immature: how clicks whose window has not closed are trained on; not at all by default.
    """
    columns = label_columns(targets, immature)

    def parse(batch: tf.Tensor, own: tf.Tensor | None = None) -> tuple[dict, dict]:
        parsed = parse_features(batch, spec, columns)
        labels = {name.removeprefix("label_"): parsed.pop(name) for name, _ in label_columns(targets)}
        if immature is not None:
            labels = immature.training_labels(labels, parsed.pop("timestamp"), parsed.pop("user_id"))
        if own is not None:
            labels |= {
                key: labels[key] * tf.cast(own, labels[key].dtype) for key in ("mature", COUNTS) if key in labels
            }
        return lookup(parsed), labels

    dataset = serialized(split, batch_size, part.skip)
    if part.fill and part.shares is not None:
        dataset = filled_shares(dataset, part.shares, part.count, most_rows(batch_size, part.count))
    elif part.shares is not None:
        dataset = shares(dataset, part.shares, part.count)
    return dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
