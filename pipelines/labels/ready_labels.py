"""The label job for data sets released with labels, which converts their files to TFRecords in the same order."""

import contextlib
import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsList, AsSingleton

from features import contract, example, table, tfrecord, vocabulary
from features.errors import MalTfError
from features.raw_times import NANOSECONDS, TimeFormat
from features.roles import ClickColumns
from features.spec import CategoricalFeature, FeatureSpec, HistoryFeature
from mal_tf.attribution.label_counts import total
from mal_tf.attribution.labels import cat_label
from pipelines.config.labels import TFRecordsConfig
from pipelines.core import files
from pipelines.labels import label_columns, training_table
from pipelines.labels.finish import Finish
from pipelines.labels.job import add_counts, vocabulary_kinds
from pipelines.labels.sources.formats import RawBatch
from pipelines.labels.sources.mac import Day, MacSource
from pipelines.labels.sources.reader import pieces, read
from pipelines.labels.steps import count_labels, mature_labels

#: Rows have no time, so their timestamp is the number of the day times this constant, plus the number of the row.
TIMESTAMPS_PER_DAY = 10**9

#: Number of clicks encoded at a time.
_ROWS_ENCODED = 16_384

#: Roles of columns for `table.normalise`; those that the release lacks are added under these names.
_ROLES = ClickColumns(click_id="click_id", user_id="user_id", timestamp="timestamp")

log = logging.getLogger("mal_tf.labels")


@dataclasses.dataclass(eq=False)
class ReadyLabels(beam.PTransform):
    """Writes the same output as `pipelines.labels.job.LabelJob`, with a segment of one file per day.

    Each file keeps the order of its rows. `click_id` is `<file>:<row>`, `timestamp` follows `TIMESTAMPS_PER_DAY`, `path_length`
    is 0, as paths are not known, and every click is mature.

    Attributes:
        writer: writer of the files.
        made_from: fingerprint of the inputs, for the manifest.
    """

    writer: "Writer"
    made_from: str

    def __post_init__(self):
        super().__init__()

    def expand(self, pipeline):
        """Builds the graph and returns the counts."""
        writer, days = self.writer, self.writer.source.days()
        entries = {"stage": "labels", "made_from": self.made_from, "mechanisms": writer.mechanisms}
        entries |= {"source_files": [day.path for day in days], "vocabularies": vocabulary_kinds(writer.spec)}
        entries["columns"] = label_columns.others(writer.spec, writer.mechanisms)
        written = (
            pipeline
            | "Days" >> beam.Create(days)
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.Map(writer.write, {day.split: day.segment + 1 for day in days})
        )
        cut = (
            pipeline | "Features" >> beam.Create(writer.spec.with_vocabulary) | "CutVocabulary" >> beam.Map(writer.cut)
        )
        total = written | "Counts" >> beam.Values() | "AddCounts" >> beam.CombineGlobally(add_counts)
        finish = Finish(writer.output, writer.mechanisms, 0.0, entries, tables=("clicks",))
        file_entries = written | "Files" >> beam.Keys()
        _ = (
            pipeline
            | "Once" >> beam.Create([None])
            | "Finish" >> beam.Map(finish, AsSingleton(total), AsList(file_entries), AsList(cut))
        )
        return total


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes label files and vocabularies.

    Attributes:
        source: source of the release.
        spec: features.
        mechanisms: names of the columns of credits, in the order of the bits of the CAT label.
        output: output directory.
        tfrecords: how the files are written.
    """

    source: MacSource
    spec: FeatureSpec
    mechanisms: Sequence[str]
    output: str
    tfrecords: TFRecordsConfig

    def write(self, day: Day, segments: dict[str, int]) -> tuple[dict[str, Any], Counter]:
        """Writes the TFRecord file of a day and returns its entry in the manifest, and counts."""
        name = f"Split-{day.split}/data_tfrecord-{day.segment:05d}-of-{segments[day.split]:05d}.gz"
        counts, labels, began = Counter({("clicks", "read"): 0}), [], time.monotonic()
        with files.created(FileSystems.join(self.output, name)) as file, self._table(day) as also:
            out = files.Hashed(file)
            with tfrecord.gzipped(out, self.tfrecords.compression_level) as records:
                for raw in self._batches(day.path):
                    clicks = self._labelled(raw, day)
                    if also is not None:
                        also.write(clicks)
                    for start in range(0, clicks.num_rows, _ROWS_ENCODED):
                        part = example.to_lists(clicks.slice(start, _ROWS_ENCODED))
                        records.write(tfrecord.frame(example.encode(part)))
                    counts["clicks", "read"] += clicks.num_rows
                    counts += count_labels(clicks, day.split, self.mechanisms)
                    labels.append(mature_labels(clicks, self.mechanisms))
        seconds, rows = time.monotonic() - began, counts["clicks", "read"]
        counts["microseconds", "read and write"] = round(seconds * 1e6)
        log.info("%s: %s clicks (%s clicks/s)", day.path, f"{rows:,}", f"{rows / (seconds + 1e-6):,.0f}")
        entry = {
            "path": name,
            "split": day.split,
            "segment": day.segment,
            "rows": rows,
            "click_id": label_columns.STRING,
        }
        entry |= {"labels": label_counts.to_json()} if (label_counts := total(labels)) else {}
        entry |= {"encoder": tfrecord.encoder(self.tfrecords.compression_level)}
        entry |= {} if also is None else {"table": also.entry}
        return entry | {"bytes": out.bytes, "sha256": out.sha256.hexdigest()}, counts

    def _table(self, day: Day) -> contextlib.AbstractContextManager[training_table.Table | None]:
        if not self.tfrecords.also:
            return contextlib.nullcontext()
        columns = [label_columns.click_id(label_columns.STRING), *label_columns.others(self.spec, self.mechanisms)]
        return training_table.created(self.output, day.split, day.segment, 0, label_columns.schema(columns))

    def _batches(self, path: str) -> Iterator[RawBatch]:
        columns = ["user_id", *self.spec.columns(), *(f.name for f in self.spec.histories), *self.mechanisms]
        for piece in pieces(path):
            yield from read(piece, list(dict.fromkeys(columns)))

    def _labelled(self, raw: RawBatch, day: Day) -> pa.RecordBatch:
        ids = pc.binary_join_element_wise(_stem(day.path), pa.array(raw.numbers).cast(pa.string()), ":")
        times = pa.array(day.number * TIMESTAMPS_PER_DAY + raw.numbers)
        names = [*raw.rows.schema.names, "click_id", "timestamp"]
        rows = pa.RecordBatch.from_arrays([*raw.rows.columns, ids, times], names)
        value_columns = self.spec.columns() | dict.fromkeys(self.mechanisms, "float32")
        normalised = table.normalise(
            rows, _ROLES, value_columns, table.TimeBounds(0, 2**62), TimeFormat(NANOSECONDS), day.path
        )
        if normalised.bad_index.size:
            row = raw.numbers[normalised.bad_index[0]]
            raise MalTfError(f"{day.path}, row {row}: {normalised.reasons[0]}; download the file again")
        for (column, reason), number in normalised.missing.items():
            raise MalTfError(f"{day.path}: column '{column}': {reason} in {number:,} rows; download the file again")
        credit = {name: self._credit(normalised.rows, name, day, raw.numbers) for name in self.mechanisms}
        labels = {name: np.minimum(values, np.float32(1)) for name, values in credit.items()}
        columns = {name: normalised.rows[name] for name in ("click_id", "user_id", "timestamp")}
        columns["path_length"] = np.zeros(rows.num_rows, np.int64)
        columns["mature"] = np.ones(rows.num_rows, np.int64)
        columns |= {f"label_{name}": values for name, values in labels.items()}
        columns |= {f"credit_{name}": values for name, values in credit.items()}
        columns["label_cat"] = cat_label(labels)
        clicks = _Clicks(self, normalised.rows, raw.rows, day.path)
        columns |= {feature.name: contract.select(feature, clicks, self.spec) for feature in self.spec.features}
        return pa.RecordBatch.from_pydict(columns)

    def _credit(self, rows: pa.RecordBatch, name: str, day: Day, numbers: np.ndarray) -> np.ndarray:
        credit = rows[table.FEATURE + name].to_numpy(zero_copy_only=False)  # Nulls become NaN.
        bad = np.flatnonzero(~(credit >= 0))
        if bad.size:
            raise MalTfError(
                f"{day.path}, row {numbers[bad[0]]}: column '{name}': expected a credit ≥ 0, found {credit[bad[0]]:g}"
            )
        return credit

    def cut(self, feature: CategoricalFeature) -> None:
        """Writes the vocabulary file of a feature, with the tokens of its column in the order of their indices."""
        path = self.source.vocabulary(feature.source_column)
        try:
            index = dict(json.loads(files.read_text(path)))
            tokens = sorted(index, key=index.__getitem__)
            lines = [token for token in tokens if token and "\n" not in token and "\r" not in token]
        except (ValueError, TypeError, AttributeError) as error:
            raise MalTfError(f"{path}: expected a JSON object of index by token: {error}") from error
        target = FileSystems.join(self.output, "vocabulary", f"{feature.name}.txt")
        files.write_text(target, vocabulary.write(lines))


@dataclasses.dataclass(frozen=True)
class _Clicks:
    """A batch of clicks that implements `features.feature.Clicks`; its histories are columns of the release."""

    writer: Writer
    rows: pa.RecordBatch
    raw: pa.RecordBatch
    path: str
    units_per_second: ClassVar[int] = 1

    @property
    def timestamp(self) -> np.ndarray:
        return self.rows["timestamp"].to_numpy()

    def column(self, name: str) -> pa.Array:
        return self.rows[table.FEATURE + name]

    def history(self, feature: HistoryFeature) -> pa.ListArray:
        if feature.name not in self.raw.schema.names:
            raise MalTfError(
                f"{self.path}: history column '{feature.name}' is missing; found: " + ", ".join(self.raw.schema.names)
            )
        lists = self.raw[feature.name]
        kind = lists.type
        if not pa.types.is_list(kind) or not pa.types.is_string(kind.value_type):
            raise MalTfError(f"{self.path}: column '{feature.name}': expected lists of strings, found {kind}")
        tokens, padding = pc.fill_null(lists.values, ""), self.writer.source.padding
        return pa.ListArray.from_arrays(lists.offsets, pc.if_else(pc.equal(tokens, padding), "", tokens))


def _stem(path: str) -> str:
    return FileSystems.split(path)[1].removesuffix(".parquet")
