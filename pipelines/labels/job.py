"""The Beam pipeline of the label job, which works on Arrow tables and shuffles the clicks once."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsDict, AsList, AsSingleton

from features import table
from features.raw_times import NANOSECONDS, TimeFormat
from features.roles import ContextColumns
from features.spec import FeatureSpec
from features.time_units import since_epoch
from mal_tf.attribution.config import AttributionConfig
from mal_tf.attribution.labelling import LabelPlan
from pipelines.config.labels import LabelsConfig, TFRecordsConfig
from pipelines.core.exchange import Exchange
from pipelines.labels import dead_letters, fits, label_columns, steps
from pipelines.labels.finish import Finish
from pipelines.labels.read_logs import Read, Times
from pipelines.labels.sources.reader import pieces
from pipelines.labels.sources.tables import SourceTables, TableSource, data_files
from pipelines.labels.time_range import TimeRange


@dataclasses.dataclass(eq=False)
class LabelJob(beam.PTransform):
    """Reads the logs and writes labelled TFRecords, vocabularies, fits, dead letters, the report and, last, the manifest.

    Output, under `output`: `Split-train|eval/data_tfrecord-SSSSS-of-NNNNN.gz`, `vocabulary/`, `attribution/`,
    `dead_letter/`, `label_report.json`, `manifest.json`.

    Attributes:
        sources: the tables.
        spec: features.
        attribution: mechanisms and eligibility.
        labels: splits, maturity.
        tfrecords: how the label files are written.
        shards: how many parts the users are split into.
        output: directory.
        paths: every event file, in the order of the log; dead letters and rows refer to it by position.
        now: nanoseconds since 1970; later events are bad.
        exchange: how tables travel between steps.
        made_from: fingerprint of the inputs, for the manifest.
        earlier: fits by mechanism and touchpoint types of an earlier run, to score with instead of fitting.
        previous: lines of earlier vocabularies by feature, to grow from.
    """

    sources: SourceTables
    spec: FeatureSpec
    attribution: AttributionConfig
    labels: LabelsConfig
    tfrecords: TFRecordsConfig
    shards: int
    output: str
    paths: Sequence[str]
    now: int
    exchange: Exchange
    made_from: str
    earlier: tuple[dict[str, dict], list[str]] | None = None
    previous: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        super().__init__()

    def expand(self, pipeline):
        """Builds the graph and returns the counts."""
        plan = self.plan()
        names = list(self.sources.by_table)
        tables = [self._read(pipeline, name) for name in names]
        clock = AsSingleton(
            [t.seen for t in tables]
            | "FlattenSeen" >> beam.Flatten()
            | "TimeRange" >> beam.CombineGlobally(self.time_range())
        )
        every_shard = pipeline | "EveryShard" >> beam.Create([(number, None) for number in range(self.shards)])
        schemas = {name: self.schema(name) for name in names}
        prepared = (
            [every_shard, *(t.parcels for t in tables)]
            | "FlattenParcels" >> beam.Flatten()
            | "ShuffleByShard" >> beam.GroupByKey()
            | "Prepare"
            >> beam.ParDo(steps.Prepare(schemas, plan, self.paths, self.exchange), clock).with_outputs(
                "touchpoints", "dead", "counts", main="shards"
            )
        )
        types, fitted, fit_counts = self._fits(pipeline, plan, prepared, clock)
        labelled = prepared.shards | "Label" >> beam.ParDo(
            steps.Label(plan, self.labels, self.tfrecords, self.shards, self.output),
            clock,
            AsSingleton(types),
            AsDict(fitted),
        ).with_outputs("vocabulary", "files", "counts")
        cut = (
            labelled.vocabulary
            | "AddVocabulary" >> beam.CombinePerKey(steps.merge_counts)
            | "CutVocabulary" >> beam.MapTuple(steps.CutVocabulary(self.spec, self.previous, self.output))
        )
        dead = [*(t.dead for t in tables), prepared.dead] | "FlattenDead" >> beam.Flatten()
        buried = dead | "GroupDead" >> beam.GroupByKey() | "WriteDead" >> beam.MapTuple(dead_letters.Write(self.output))
        counts = [
            *(t.counts for t in tables),
            dead | "CountDead" >> beam.FlatMapTuple(dead_letters.count_reasons),
            prepared.counts,
            *fit_counts,
            labelled.counts,
        ]
        total = counts | "FlattenCounts" >> beam.Flatten() | "AddCounts" >> beam.CombineGlobally(add_counts)
        _ = (
            pipeline
            | "Once" >> beam.Create([None])
            | "Finish"
            >> beam.Map(self._finish(), AsSingleton(total), AsList(labelled.files), AsList(cut), AsList(buried))
        )
        return total

    def reader(self, name: str) -> Read:
        """Returns the step that reads a table, such as `clicks` or `conversions`."""
        source = self.sources.by_table[name]
        since, until = self.labels.observed_from, self.labels.last_observed(NANOSECONDS)
        earliest = since_epoch(since, NANOSECONDS) if since else 0
        bounds = table.TimeBounds(earliest, self.now, "the start of this job")
        given = TimeFormat(self.sources.units_per_second, self.sources.time_zone)
        times = Times(bounds, given, self.now if until is None else until)
        return Read(source, self._columns(source), times, self.paths, self.shards, self.exchange)

    def time_range(self) -> TimeRange:
        """What makes the job's clock of all that is read."""
        needed = {name: self.reader(name).needed() for name in self.sources.by_table}
        return TimeRange(self.labels, self.sources, needed)

    def schema(self, name: str) -> pa.Schema:
        """Returns the schema of the canonical columns of a table, with the file and row number of each row."""
        source = self.sources.by_table[name]
        return _with_place(table.schema(source.columns, self._columns(source)))

    def _read(self, pipeline: beam.Pipeline, name: str):
        source = self.sources.by_table[name]
        return (
            pipeline
            | f"Files:{name}" >> beam.Create(data_files(source))
            | f"Pieces:{name}" >> beam.FlatMap(pieces, source)
            | f"Spread:{name}" >> beam.Reshuffle()
            | f"Read:{name}" >> beam.ParDo(self.reader(name)).with_outputs("seen", "dead", "counts", main="parcels")
        )

    def _fits(self, pipeline: beam.Pipeline, plan: LabelPlan, prepared, clock):
        """Returns touchpoint types, pairs (name, fit) of data-driven mechanisms, and counts; reads earlier fits if given."""
        made_for = {m.name: fits.made_for(self.attribution, m, self.sources) for m in self.attribution.data_driven}
        if self.earlier is not None or not made_for:
            fits_by_name, types = self.earlier or ({}, [])
            fitted = (
                pipeline
                | "EarlierFits" >> beam.Create([(fits_by_name, types)])
                | "SaveFits" >> beam.FlatMap(_save_fits, made_for, self.output)
            )
            return pipeline | "EarlierTypes" >> beam.Create([types]), fitted, []
        types = (
            prepared.touchpoints
            | "AddTouchpoints" >> beam.CombinePerKey(steps.merge_counts)
            | "CutTouchpoints" >> beam.MapTuple(steps.CutTypes(plan, self.output))
        )
        statistics = prepared.shards | "Statistics" >> beam.ParDo(
            steps.Statistics(plan), clock, AsSingleton(types)
        ).with_outputs(*(f"fit:{name}" for name in made_for), "counts")
        fitted = [
            statistics[f"fit:{name}"]
            | f"Merge:{name}" >> beam.CombineGlobally(steps.Merge(name, plan.data_driven[name]))
            | f"Fit:{name}" >> beam.Map(steps.Fit(name, plan.data_driven[name], made_for[name], self.output))
            for name in made_for
        ]
        return types, fitted | "FlattenFits" >> beam.Flatten(), [statistics["counts"]]

    def _finish(self) -> Finish:
        names = self.attribution.names
        entries: dict[str, Any] = {
            "stage": "labels",
            "made_from": self.made_from,
            "mechanisms": names,
            "source_files": self.paths,
        }
        if snapshots := self.sources.snapshots:
            entries["source_tables"] = {
                name: {"format": one.format, "path": one.path, "version": one.version}
                for name, one in snapshots.items()
            }
        entries["vocabularies"] = vocabulary_kinds(self.spec)
        valued, context = self.sources.conversions.columns.value is not None, self.sources.context_names
        entries["columns"] = label_columns.others(self.spec, names, valued, context)
        return Finish(
            self.output,
            names,
            self.labels.max_bad_share,
            entries,
            self.exchange.directory,
            tables=tuple(self.sources.by_table),
            ends_with_events=self.labels.last_observed(1) is None,
        )

    def plan(self) -> LabelPlan:
        """Returns the plan for labelling shards, whose data-driven mechanisms have no fits yet."""
        valued = self.sources.conversions.columns.value is not None
        units, context = self.sources.units_per_second, self.sources.context_names
        return LabelPlan.from_config(self.attribution, self.spec, units, valued, context)

    def _columns(self, source: TableSource) -> dict[str, str]:
        if isinstance(source.columns, ContextColumns):
            return self.spec.scalar_columns(self.attribution.confounders)
        return self.spec.columns(source.columns.TABLE)


def vocabulary_kinds(spec: FeatureSpec) -> dict[str, str]:
    """Returns the feature type and dtype of each vocabulary, such as `categorical string`, by feature name."""
    return {feature.name: f"{feature.type} {feature.dtype}" for feature in spec.with_vocabulary}


def add_counts(parts: Iterable[Counter]) -> Counter:
    """Sums counters."""
    total: Counter = Counter()
    for part in parts:
        total.update(part)
    return total


def _save_fits(earlier: tuple[dict[str, dict], list[str]], made_for: Mapping[str, dict], output: str):
    fits_by_name, types = earlier
    for name, fit in fits_by_name.items():
        fits.write(output, name, made_for[name], fit)
    if fits_by_name:
        fits.write_types(output, types)
    return fits_by_name.items()


def _with_place(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field("source_file", pa.int32())).append(pa.field("source_row", pa.int64()))
