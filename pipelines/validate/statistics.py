"""The statistics stage, which computes TFDV statistics of the splits.

It is a separate Beam job, as the workers of the label job have no TensorFlow.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from tensorflow_metadata.proto.v0 import statistics_pb2

from features.spec import FeatureSpec
from pipelines.clicks import labelled, tfrecords
from pipelines.core import beam_runner, files
from pipelines.validate.tfdv import ExamplesToRecordBatchDecoder, tfdv

STATISTICS = "FeatureStats.pb"

#: Number of clicks decoded at a time.
_BATCH = 16_384

log = logging.getLogger("mal_tf.statistics")


def write(labels: str, spec: FeatureSpec, output: str, flags: Sequence[str] = ()) -> dict[str, int]:
    """Computes the statistics of each split and writes them as one `FeatureStats.pb`.

    The file holds a DatasetFeatureStatisticsList with a dataset per split, named `Split-<split>`.

    Args:
        labels: directory of the label job.
        spec: features of the label job.
        output: directory to write to.
        flags: Beam flags.

    Returns:
        Number of examples by split.
    """
    splits = labelled.load(labels, spec).splits.items()
    write_files({name: list(split.files) for name, split in splits}, output, flags)
    return {name: split.rows for name, split in splits}


def write_files(
    split_files: Mapping[str, Sequence[tuple[str, int | None]]], output: str, flags: Sequence[str] = ()
) -> None:
    """Computes statistics as `write` does, for any TFRecord files of tf.Examples, gzipped or not.

    Args:
        split_files: files of each split by name, each with its number of rows, or None if that is unknown.
        output: directory to write to.
        flags: Beam flags.
    """
    pipeline = beam.Pipeline(options=beam_runner.pipeline_options(flags))
    statistics = [
        pipeline
        | f"Files:{name}" >> beam.Create(pairs)
        | f"Spread:{name}" >> beam.Reshuffle()
        | f"Read:{name}" >> beam.FlatMapTuple(_batches)
        | f"Statistics:{name}" >> tfdv.GenerateStatistics()
        | f"Name:{name}" >> beam.Map(_named, name)
        for name, pairs in split_files.items()
    ]
    _ = (
        statistics
        | "Flatten" >> beam.Flatten()
        | "Gather" >> beam.GroupBy(lambda _: None)
        | "Write" >> beam.MapTuple(lambda _, parts: _write(parts, output))
    )
    beam_runner.run(pipeline)


def load(directory: str) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Reads the statistics that `write` wrote, by split."""
    all_splits = statistics_pb2.DatasetFeatureStatisticsList.FromString(files.read_bytes(f"{directory}/{STATISTICS}"))
    return {
        dataset.name.removeprefix("Split-"): statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
        for dataset in all_splits.datasets
    }


def _batches(path: str, rows: int | None) -> Iterator[pa.RecordBatch]:
    decoder, found = ExamplesToRecordBatchDecoder(), 0
    for examples in tfrecords.read(path, _BATCH, rows):
        found += len(examples)
        yield decoder.DecodeBatch(examples.numpy().tolist())
    log.info("statistics: read %s clicks of %s", f"{found:,}", path)


def _named(statistics: statistics_pb2.DatasetFeatureStatisticsList, split: str) -> bytes:
    (dataset,) = statistics.datasets
    dataset.name = f"Split-{split}"
    return dataset.SerializeToString(deterministic=True)


def _write(parts, output: str) -> None:
    datasets = [statistics_pb2.DatasetFeatureStatistics.FromString(part) for part in parts]
    datasets.sort(key=lambda dataset: dataset.name, reverse=True)
    all_splits = statistics_pb2.DatasetFeatureStatisticsList(datasets=datasets)
    files.write_bytes(FileSystems.join(output, STATISTICS), all_splits.SerializeToString(deterministic=True))
