"""One way of reading a training split, on one core: `python -m benchmarks.input_process SETTINGS RESULT`."""

import dataclasses
import json
import os
import pathlib
import sys
import time

from features.keras2 import keras, tf
from features.lookup import lookup_model
from features.parsing import MISSING, parse_features
from features.spec import FeatureSpec
from mal_tf.training.dataset import batches, label_columns, serialized
from pipelines.clicks import labelled
from pipelines.config.run import load


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to read.

    Attributes:
        contender: a key of `CONTENDERS`.
        config: path of the run's config.
        overrides: of its keys.
        labels: directory of the finished label job.
        batch_size: examples per batch.
        repeat: how often the split is read, in one pass.
    """

    contender: str
    config: str
    overrides: list[str]
    labels: str
    batch_size: int
    repeat: int


def ours(segments: list, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """What training reads."""
    return batches(segments, spec, lookup, targets, batch_size)


def read_alone(segments: list, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Serialized examples: decompressed, in order, batched."""
    return serialized(segments, batch_size)


def parsed(segments: list, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Raw values and labels: all but the lookup."""
    return serialized(segments, batch_size).map(lambda batch: parse_features(batch, spec, label_columns(targets)))


def by_row(segments: list, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """The usual way in tutorials: parse each row, then batch; the lookup is the same."""
    columns = label_columns(targets)

    def row(record: tf.Tensor) -> dict:
        return {name: values[0] for name, values in parse_features(record[tf.newaxis], spec, columns).items()}

    def split(values: dict) -> tuple[dict, dict]:
        labels = {name.removeprefix("label_"): values.pop(name) for name, _ in columns}
        return lookup(values), labels

    files = tf.data.Dataset.from_tensor_slices([file for segment in segments for file in segment])
    rows = files.flat_map(lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP")).map(row)
    padding = {f.name: MISSING[spec.dtype(f)] for f in spec.features} | {
        name: tf.constant(0, dtype) for name, dtype in columns
    }
    return rows.padded_batch(batch_size, padding_values=padding).map(split)


CONTENDERS = {"ours": ours, "read alone": read_alone, "read and parse": parsed, "row by row": by_row}


def main(asked: str, answered: str) -> None:
    """Reads the split on the first core that this process may use; writes examples, seconds and CPU seconds."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = Settings(**json.loads(pathlib.Path(asked).read_text()))
    config = load(settings.config, settings.overrides)
    data = labelled.load(settings.labels, config.feature_spec)
    split, lookup = data.splits["train"], lookup_model(config.feature_spec, data.vocabularies)
    segments = split.segments * settings.repeat
    make = CONTENDERS[settings.contender]
    dataset = make(segments, config.feature_spec, lookup, config.targets, settings.batch_size)
    next(iter(dataset))  # Tracing and opening are not what is measured.
    began, cpu = time.monotonic(), time.process_time()
    for _ in dataset:
        pass
    found = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    pathlib.Path(answered).write_text(json.dumps(found | {"examples": split.rows * settings.repeat}))


if __name__ == "__main__":
    main(*sys.argv[1:])
