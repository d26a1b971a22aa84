"""Times one way of reading a training split, on one core: `python -m benchmarks.input_process SETTINGS RESULT`."""

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
from mal_tf.training.split import Split
from pipelines.clicks import labelled
from pipelines.config.run import load


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a process that reads the split.

    Attributes:
        contender: a key of `CONTENDERS`.
        config: path of the run's config.
        overrides: overrides of its keys.
        labels: directory of the finished label job.
        batch_size: examples per batch.
        repeat: number of times that the split is read, in one pass.
    """

    contender: str
    config: str
    overrides: list[str]
    labels: str
    batch_size: int
    repeat: int


def ours(split: Split, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Read as training does."""
    return batches(split, spec, lookup, targets, batch_size)


def read_alone(split: Split, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Only decompress and batch serialized examples, in order."""
    return serialized(split, batch_size)


def parsed(split: Split, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Do everything but the lookup: raw values and labels."""
    return serialized(split, batch_size).map(lambda batch: parse_features(batch, spec, label_columns(targets)))


def by_row(split: Split, spec: FeatureSpec, lookup: keras.Model, targets, batch_size: int) -> tf.data.Dataset:
    """Parse each row, then batch, as tutorials usually do. The lookup is the same."""
    columns = label_columns(targets)

    def row(record: tf.Tensor) -> dict:
        return {name: values[0] for name, values in parse_features(record[tf.newaxis], spec, columns).items()}

    def with_labels(values: dict) -> tuple[dict, dict]:
        labels = {name.removeprefix("label_"): values.pop(name) for name, _ in columns}
        return lookup(values), labels

    paths = tf.data.Dataset.from_tensor_slices([file for file, _ in split.files])
    rows = paths.flat_map(lambda file: tf.data.TFRecordDataset(file, compression_type="GZIP")).map(row)
    padding = {f.name: MISSING[spec.dtype(f)] for f in spec.features} | {
        name: tf.constant(0, dtype) for name, dtype in columns
    }
    return rows.padded_batch(batch_size, padding_values=padding).map(with_labels)


CONTENDERS = {"ours": ours, "read alone": read_alone, "read and parse": parsed, "row by row": by_row}


def main(settings_file: str, result_file: str) -> None:
    """Read the split on the first core that this process may use, and write examples, seconds and CPU seconds to a file."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = Settings(**json.loads(pathlib.Path(settings_file).read_text()))
    config = load(settings.config, settings.overrides)
    data = labelled.load(settings.labels, config.feature_spec)
    split, lookup = data.splits["train"], lookup_model(config.feature_spec, data.vocabularies)
    make = CONTENDERS[settings.contender]
    dataset = make(
        Split.joined(*[split] * settings.repeat), config.feature_spec, lookup, config.targets, settings.batch_size
    )
    next(iter(dataset))  # Excludes tracing and opening files from the measurement.
    began, cpu = time.monotonic(), time.process_time()
    for _ in dataset:
        pass
    times = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
    pathlib.Path(result_file).write_text(json.dumps(times | {"examples": split.rows * settings.repeat}))


if __name__ == "__main__":
    main(*sys.argv[1:])
