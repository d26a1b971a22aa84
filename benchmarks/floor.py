"""Converts Parquet to TFRecords without attribution: alternative (b) of `benchmarks.labels`, a lower bound of its cost.

`python -m benchmarks.floor CONFIG OUTPUT`. The click log's columns are read by pyarrow in batches, encoded by tfx-bsl's
C++ encoder and written by `tf.io.TFRecordWriter` with the label job's compression. No program
that turns such a log into such files with these libraries can do less. `--labels` adds label columns of zeros, so that an
example has as many features as one of the label job.
"""

import pathlib
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from features import example
from features.keras2 import tf
from features.spec import ARROW_TYPE
from pipelines.config.run import RunConfig, load
from pipelines.core import files

_BATCH_ROWS = 65_536


def run(config: RunConfig, output: pathlib.Path, labels: bool = False) -> int:
    """Write `output/floor.tfrecord.gz` and return the number of examples.

    Args:
        config: a config written by `benchmarks.logs`.
        output: directory to write to.
        labels: whether to add label columns, all zero.
    """
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=config.tfrecords.compression_level)
    types = {"id": pa.int64(), "user": pa.string(), "ts": pa.int64()}
    types |= {feature.name: ARROW_TYPE[feature.dtype] for feature in config.feature_spec.scalars}
    renamed = {"id": "click_id", "user": "user_id", "ts": "timestamp"}
    encoder, rows = RecordBatchToExamplesEncoder(), 0
    with tf.io.TFRecordWriter(str(output / "floor.tfrecord.gz"), options) as writer:
        for path, _ in files.match(config.sources.tables().clicks.files):
            for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=list(types)):
                columns = {renamed.get(name, name): batch[name].cast(kind) for name, kind in types.items()}
                if labels:
                    columns |= _zeros(batch.num_rows, config.attribution.names)
                lists = example.to_lists(pa.RecordBatch.from_pydict(columns))
                for record in encoder.encode(lists):
                    writer.write(record)
                rows += batch.num_rows
    return rows


def _zeros(rows: int, mechanisms: tuple[str, ...]) -> dict[str, pa.Array]:
    whole = dict.fromkeys(("path_length", "mature", "label_cat"), pa.array(np.zeros(rows, np.int64)))
    names = [f"{kind}_{name}" for kind in ("label", "credit") for name in mechanisms]
    return whole | dict.fromkeys(names, pa.array(np.zeros(rows, np.float32)))


def main(
    config: Annotated[str, typer.Argument(help="A config written by benchmarks.logs.")],
    output: Annotated[pathlib.Path, typer.Argument(help="Directory to write to.")],
    labels: Annotated[bool, typer.Option("--labels", help="Add label columns of zeros.")] = False,
) -> None:
    """Copy the click log to TFRecords."""
    output.mkdir(parents=True, exist_ok=True)
    print(f"{run(load(config), output, labels):,} examples")


if __name__ == "__main__":
    typer.run(main)
