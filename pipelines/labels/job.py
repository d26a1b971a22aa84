"""The label job: a Beam pipeline over Arrow batches with one shuffle of the clicks."""

import dataclasses
import datetime
import hashlib
import io
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsDict, AsSingleton, TaggedOutput

from features import example, table, tfrecord, vocabulary
from features.errors import MalTfError
from features.spec import FeatureSpec
from mal_tf.attribution.journeys import JourneyRules
from mal_tf.attribution.mechanism import DataDrivenMechanism, Mechanism
from pipelines import files
from pipelines.config import AttributionConfig, LabelsConfig
from pipelines.labels import dead_letters
from pipelines.labels import shard as shards
from pipelines.labels.report import CREDIT_UNIT
from pipelines.sources.reader import Piece, RawBatch, Refiner, pieces, read
from pipelines.sources.tables import SourceTables, TableSource

SUMMARY = "summary.json"

#: More files than this per shard mean a stray timestamp, not a log.
_MAX_SEGMENTS = 1_000

log = logging.getLogger("mal_tf.labels")


@dataclasses.dataclass(eq=False)
class LabelJob(beam.PTransform):
    """Reads the logs and writes labelled TFRecords, vocabularies, fits, dead letters, statistics and a summary.

    Output, under `output`: `Split-train|eval/data_tfrecord-SSSSS-of-NNNNN.gz`, `vocabulary/`, `attribution/`,
    `dead_letter/`, `summary.json`. No manifest: that is the caller's, after checking the summary.

    Attributes:
        sources: the two tables.
        spec: features.
        attribution: mechanisms and eligibility.
        labels: splits, maturity, sharding.
        output: directory.
        paths: every event file, sorted; dead letters and rows refer to it by position.
        now: time units since 1970; later events are bad.
    """

    sources: SourceTables
    spec: FeatureSpec
    attribution: AttributionConfig
    labels: LabelsConfig
    output: str
    paths: Sequence[str]
    now: int

    def __post_init__(self):
        super().__init__()

    def expand(self, pipeline):  # Beam would warn about a hint of many outputs
        """Builds the graph; returns the labelled batches of list columns by split, for statistics."""
        units = self.sources.units_per_second
        rules = self.attribution.rules(units)
        mechanisms = {m.name: m.make() for m in self.attribution.mechanisms}
        read_tables = [self._read(pipeline, "clicks"), self._read(pipeline, "conversions")]
        clock = (
            [r.times for r in read_tables]
            | "FlattenTimes" >> beam.Flatten()
            | "TimeRange" >> beam.CombineGlobally(_TimeRange(self._moments()))
        )
        every_shard = pipeline | "EveryShard" >> beam.Create([(number, None) for number in range(self.labels.shards)])
        grouped = (
            [every_shard, *(r.pieces for r in read_tables)]
            | "FlattenPieces" >> beam.Flatten()
            | "ShuffleByShard" >> beam.GroupByKey()
        )
        schemas = {
            source.columns.TABLE: _with_place(table.schema(source.columns, self._columns(source)))
            for source in (self.sources.clicks, self.sources.conversions)
        }
        prepared = grouped | "Prepare" >> beam.ParDo(
            _Prepare(schemas, rules, mechanisms, self.paths), AsSingleton(clock)
        ).with_outputs("statistics", "dead", "counts", main="shards")
        fits = (
            prepared.statistics
            | "GroupStatistics" >> beam.GroupByKey()
            | "Fit" >> beam.MapTuple(_Fit(mechanisms, self.output))
        )
        labelled = prepared.shards | "Label" >> beam.ParDo(
            _Label(rules, mechanisms, self.spec, self.labels, self.output), AsSingleton(clock), AsDict(fits)
        ).with_outputs("train", "eval", "vocabulary", "files", "counts")
        _ = (
            labelled.vocabulary
            | "GroupVocabulary" >> beam.GroupByKey()
            | "CutVocabulary" >> beam.MapTuple(_CutVocabulary(self.spec, self.output))
        )
        dead = [*(r.dead for r in read_tables), prepared.dead] | "FlattenDead" >> beam.Flatten()
        _ = dead | "GroupDead" >> beam.GroupByKey() | "WriteDead" >> beam.MapTuple(dead_letters.Write(self.output))
        counts = [
            *(r.counts for r in read_tables),
            dead | "CountDead" >> beam.FlatMapTuple(dead_letters.count_reasons),
            prepared.counts,
            labelled.counts,
        ]
        total = counts | "FlattenCounts" >> beam.Flatten() | "AddCounts" >> beam.CombineGlobally(_add)
        _ = (
            pipeline
            | "Once" >> beam.Create([None])
            | "WriteSummary"
            >> beam.Map(_write_summary, self.output, AsSingleton(total), beam.pvalue.AsList(labelled.files))
        )
        return {"train": labelled.train, "eval": labelled.eval}

    def _read(self, pipeline: beam.Pipeline, name: str):
        source: TableSource = getattr(self.sources, name)
        bounds = table.TimeBounds(self._units(self.labels.observed_from, 0), self.now, "the start of this job")
        until = self._units(self.labels.observed_until, self.now)
        matched = [path for path, _ in files.match(source.files)]
        reader = _Read(
            source, self._columns(source), bounds, self.sources.units_per_second, self.paths, self.labels.shards, until
        )
        return (
            pipeline
            | f"Files:{name}" >> beam.Create(matched)
            | f"Pieces:{name}" >> beam.FlatMap(pieces)
            | f"Spread:{name}" >> beam.Reshuffle()
            | f"Read:{name}" >> beam.ParDo(reader).with_outputs("times", "dead", "counts", main="pieces")
        )

    def _columns(self, source: TableSource) -> dict[str, str]:
        return self.spec.columns(source.columns.TABLE)

    def _moments(self) -> dict[str, int | None]:
        return {
            "observed_until": self._units(self.labels.observed_until, None),
            "eval_from": self._units(self.labels.eval_from, None),
            "segment": round(self.labels.segment_hours * 3600 * self.sources.units_per_second),
        }

    def _units(self, moment: datetime.datetime | None, default):
        return default if moment is None else round(moment.timestamp() * self.sources.units_per_second)


class _Read(beam.DoFn):
    """Pieces of files to IPC pieces by shard: (shard, (table, bytes)); bad rows to dead letters."""

    def __init__(
        self, source, columns: Mapping[str, str], bounds, units: int, paths: Sequence[str], shards: int, until: int
    ):
        self._source, self._columns, self._bounds, self._units = source, dict(columns), bounds, units
        self._file = {path: number for number, path in enumerate(paths)}
        self._shards, self._until = shards, until

    def setup(self):
        self._needed = table.required_columns(self._source.columns, self._columns)
        self._refiner = Refiner(self._source, self._needed)

    def process(self, piece: Piece) -> Iterator[Any]:
        name, began, rows = self._source.columns.TABLE, time.monotonic(), 0
        for raw in read(piece, self._refiner.read_columns(self._needed), self._source):
            yield from self._batch(raw, piece.path)
            rows += raw.rows.num_rows
        rate = rows / max(time.monotonic() - began, 1e-6)
        log.info("%s: read %s rows of %s (%s rows/s)", name, f"{rows:,}", piece.path, f"{rate:,.0f}")

    def _batch(self, raw: RawBatch, path: str) -> Iterator[Any]:
        name, file = self._source.columns.TABLE, self._file[path]
        kept = self._refiner.where(raw, path)
        count = Counter({(name, "read"): raw.rows.num_rows + len(raw.malformed)})
        count[name, "filtered"] = raw.rows.num_rows - kept.rows.num_rows
        yield TaggedOutput("counts", count)
        if raw.malformed:
            numbers, reasons, texts = map(list, zip(*raw.malformed, strict=True))
            yield dead_letters.letters(name, file, path, numbers, reasons, pd.DataFrame({"text": texts}))
        joined = self._refiner.join(kept.rows, path)
        found = table.normalise(joined, self._source.columns, self._columns, self._bounds, self._units, path)
        if found.bad_index.size:
            bad = kept.rows.take(pa.array(found.bad_index)).to_pandas()
            yield dead_letters.letters(name, file, path, kept.numbers[found.bad_index].tolist(), found.reasons, bad)
        times = found.rows["timestamp"].to_numpy()
        known = times <= self._until
        yield TaggedOutput("counts", Counter({(name, "after_observed_until"): int((~known).sum())}))
        numbers, times = np.delete(kept.numbers, found.bad_index)[known], times[known]
        if not numbers.size:
            return
        good = found.rows.filter(pa.array(known))
        yield TaggedOutput("times", (int(times.min()) if name == "clicks" else None, int(times.max())))
        columns = [*good.columns, pa.array(np.full(numbers.size, file, np.int32)), pa.array(numbers)]
        rows = pa.Table.from_arrays(columns, [*good.schema.names, *shards.PLACE])
        users = good["user_id"].to_numpy(zero_copy_only=False)
        shard = (pd.util.hash_array(users) % np.uint64(self._shards)).astype(np.int64)
        order = np.argsort(shard, kind="stable")
        rows, bounds = rows.take(pa.array(order)), np.searchsorted(shard[order], np.arange(self._shards + 1))
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            yield number, (name, _to_ipc(rows.slice(bounds[number], bounds[number + 1] - bounds[number])))


class _TimeRange(beam.CombineFn):
    """(earliest click, latest event) pairs to the job's `Clock`."""

    def __init__(self, moments: Mapping[str, Any]):
        self._moments = moments

    def create_accumulator(self):
        return None, None

    def add_input(self, accumulator, pair):
        return self.merge_accumulators([accumulator, pair])

    def merge_accumulators(self, pairs):
        pairs = list(pairs)
        starts, ends = ([p[i] for p in pairs if p[i] is not None] for i in (0, 1))
        return min(starts, default=None), max(ends, default=None)

    def extract_output(self, pair) -> shards.Clock:
        start, end = pair
        observed_until = end if self._moments["observed_until"] is None else self._moments["observed_until"]
        eval_from = self._moments["eval_from"]
        clock = shards.Clock(
            eval_from if start is None else start, eval_from, observed_until or eval_from, self._moments["segment"]
        )
        found = clock.segments()
        if sum(found.values()) > _MAX_SEGMENTS:
            raise MalTfError(
                f"the clicks span {sum(found.values()):,} segments of labels.segment_hours, from time {clock.start} on: "
                "a stray early timestamp? Set labels.observed_from, or raise labels.segment_hours."
            )
        return clock


class _Prepare(beam.DoFn):
    """One shard's pieces to a sorted `Shard` without duplicates, and to statistics for the fits."""

    def __init__(self, schemas: Mapping[str, pa.Schema], rules: JourneyRules, mechanisms, paths: Sequence[str]):
        self._schemas, self._rules, self._mechanisms, self._paths = schemas, rules, mechanisms, paths

    def process(self, element, clock: shards.Clock) -> Iterator[Any]:
        number, found = element
        by_table: dict[str, list[bytes]] = {name: [] for name in self._schemas}
        for piece in found:
            if piece is not None:
                by_table[piece[0]].append(piece[1])
        tables = {}
        for name, id_column in (("clicks", "click_id"), ("conversions", "conversion_id")):
            whole = _concatenate(by_table[name], self._schemas[name], id_column)
            tables[name], other, repeats = shards.drop_duplicates(whole, id_column)
            yield TaggedOutput("counts", Counter({(name, "exact_repeats"): repeats}))
            yield from self._dead(name, id_column, other)
        shard = shards.sort(tables["clicks"], tables["conversions"])
        fitted = shards.statistics(shard, self._rules, self._mechanisms, clock.eval_from, clock.observed_until)
        for name, statistics in fitted.items():
            yield TaggedOutput("statistics", (name, statistics))
        yield number, shard

    def _dead(self, name: str, id_column: str, rows: pa.Table) -> Iterator[Any]:
        for file in pc.unique(rows["source_file"]).to_pylist():
            part = rows.filter(pc.equal(rows["source_file"], file))
            reasons = [f"{id_column} is a duplicate with other content"] * part.num_rows
            numbers = part["source_row"].to_pylist()
            yield dead_letters.letters(
                name, file, self._paths[file], numbers, reasons, part.drop(list(shards.PLACE)).to_pandas()
            )


class _Fit:
    """Statistics of one mechanism from all shards to its parameters, saved under `attribution/`."""

    def __init__(self, mechanisms: Mapping[str, Mechanism], output: str):
        self._mechanisms, self._output = mechanisms, output

    def __call__(self, name: str, parts: Iterable[Any]) -> tuple[str, dict]:
        mechanism: DataDrivenMechanism = self._mechanisms[name]
        parameters = mechanism.fit(mechanism.merge(parts))
        path = FileSystems.join(self._output, "attribution", f"{name}.json")
        files.write_text(path, json.dumps(parameters, indent=1) + "\n")
        return name, parameters


class _Label(beam.DoFn):
    """A shard to labelled TFRecord files, batches for statistics, vocabulary counts and counts."""

    def __init__(self, rules: JourneyRules, mechanisms, spec: FeatureSpec, config: LabelsConfig, output: str):
        self._rules, self._mechanisms, self._spec, self._config, self._output = rules, mechanisms, spec, config, output

    def process(self, element, clock: shards.Clock, fits: Mapping[str, dict]) -> Iterator[Any]:
        number, shard = element
        for name, parameters in fits.items():
            self._mechanisms[name].load(parameters)
        clicks, counts = shards.label(shard, self._rules, self._mechanisms, self._spec, clock.observed_until)
        counts["conversions", "written"] = shard.conversions.num_rows
        immature = np.asarray(clicks["mature"]) == 0
        if self._config.immature == "drop":
            counts["clicks", "immature_dropped"] = int(immature.sum())
            clicks = clicks.filter(pa.array(~immature))
        else:
            counts["clicks", "immature_marked"] = int(immature.sum())
        is_eval, segment = clock.split_and_segment(np.asarray(clicks["timestamp"]))
        for split, segments in clock.segments().items():
            chosen = is_eval if split == "eval" else ~is_eval
            for index in range(segments):
                rows = clicks.filter(pa.array(chosen & (segment == index)))
                batch, written = self._write(rows, split, index, segments, number)
                yield TaggedOutput("files", written)
                yield TaggedOutput(split, batch)
            counts += self._count(clicks.filter(pa.array(chosen)), split)
        for feature in self._spec.scalars:
            values = clicks.filter(pa.array(~is_eval))[feature.name].combine_chunks()
            counted = vocabulary.count(feature, values if isinstance(values, pa.Array) else values.chunk(0))
            yield TaggedOutput("vocabulary", (feature.name, _to_ipc(counted)))
        yield TaggedOutput("counts", counts)
        log.info("labelled shard %d of %d: %s clicks", number + 1, self._config.shards, f"{clicks.num_rows:,}")

    def _write(
        self, rows: pa.Table, split: str, segment: int, segments: int, shard: int
    ) -> tuple[pa.RecordBatch, dict]:
        rows = rows.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("click_id", "ascending")])
        batch = example.to_lists(_one_batch(rows))
        data = tfrecord.gzipped(example.encode(batch))
        of = segments * self._config.shards
        name = f"Split-{split}/data_tfrecord-{segment * self._config.shards + shard:05d}-of-{of:05d}.gz"
        files.write_bytes(FileSystems.join(self._output, name), data)
        written = {"path": name, "split": split, "segment": segment, "rows": rows.num_rows, "bytes": len(data)}
        return batch, written | {"sha256": hashlib.sha256(data).hexdigest()}

    def _count(self, rows: pa.Table, split: str) -> Counter:
        counts = Counter({("clicks", "written", split): rows.num_rows})
        for name in self._mechanisms:
            label = np.asarray(rows[f"label_{name}"])
            counts["positives", split, name] = int((label > 0).sum())
            counts["credit", split, name] = int(np.rint(label.astype(np.float64) / CREDIT_UNIT).sum())
        classes, clicks = np.unique(np.asarray(rows["label_cat"]), return_counts=True)
        counts.update({("cat", split, int(c)): int(n) for c, n in zip(classes, clicks, strict=True)})
        return counts


class _CutVocabulary:
    """Counts of one feature's tokens from all shards to its vocabulary file."""

    def __init__(self, spec: FeatureSpec, output: str):
        self._spec, self._output = spec, output

    def __call__(self, name: str, counts: Iterable[bytes]) -> None:
        merged = vocabulary.merge(_from_ipc(part) for part in counts)
        lines = vocabulary.cut(self._spec.scalar(name), merged, self._spec.vocabulary)
        files.write_text(FileSystems.join(self._output, "vocabulary", f"{name}.txt"), vocabulary.write(lines))


def _add(parts: Iterable[Counter]) -> Counter:
    total: Counter = Counter()
    for part in parts:
        total.update(part)
    return total


def _write_summary(_: None, output: str, counts: Counter, written: list[dict]) -> None:
    by_key = sorted(([list(key), n] for key, n in counts.items()), key=lambda item: json.dumps(item[0]))
    summary = {"counts": by_key, "files": sorted(written, key=lambda file: (file["split"] != "train", file["path"]))}
    files.write_text(FileSystems.join(output, SUMMARY), json.dumps(summary))


def _with_place(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field("source_file", pa.int32())).append(pa.field("source_row", pa.int64()))


def _concatenate(pieces_of_table: list[bytes], schema: pa.Schema, id_column: str) -> pa.Table:
    tables = [_from_ipc(piece) for piece in pieces_of_table]
    kinds = {str(t.schema.field(id_column).type) for t in tables}
    if len(kinds) > 1:
        raise MalTfError(f"{id_column} is {' in some files and '.join(sorted(kinds))} in others; make them one type")
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _one_batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in rows.schema], schema=rows.schema)


def _to_ipc(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()
