"""TFDV statistics of the written splits, in the label job's own pipeline."""

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipelines import files
from pipelines.validation.tfdv import tfdv

STATISTICS = "FeatureStats.pb"


class WriteStatistics(beam.PTransform):
    """Computes statistics of each split's batches and writes them as one `FeatureStats.pb`.

    Input: batches of list columns by split. The file holds a DatasetFeatureStatisticsList with a dataset per split,
    named `Split-<split>`.
    """

    def __init__(self, output: str):
        super().__init__()
        self._output = output

    def expand(self, batches):  # Beam would warn about a hint of many inputs
        """See base class."""
        statistics = [
            collection | f"Statistics:{split}" >> tfdv.GenerateStatistics() | f"Name:{split}" >> beam.Map(_named, split)
            for split, collection in batches.items()
        ]
        return (
            statistics
            | "FlattenStatistics" >> beam.Flatten()
            | "GatherStatistics" >> beam.GroupBy(lambda _: None)
            | "WriteStatistics" >> beam.MapTuple(lambda _, parts: _write(parts, self._output))
        )


def _named(statistics: statistics_pb2.DatasetFeatureStatisticsList, split: str) -> bytes:
    (dataset,) = statistics.datasets
    dataset.name = f"Split-{split}"
    return dataset.SerializeToString(deterministic=True)


def _write(parts, output: str) -> None:
    datasets = [statistics_pb2.DatasetFeatureStatistics.FromString(part) for part in parts]
    datasets.sort(key=lambda dataset: dataset.name, reverse=True)
    both = statistics_pb2.DatasetFeatureStatisticsList(datasets=datasets)
    files.write_bytes(FileSystems.join(output, STATISTICS), both.SerializeToString(deterministic=True))
