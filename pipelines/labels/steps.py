"""Steps of the label job after the shuffle: shards prepared, statistics and fits, labels written, vocabularies cut."""

import contextlib
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from features import example, tfrecord, vocabulary
from features.arrays import flat
from features.spec import FeatureSpec
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.label_counts import LabelCounts, credit_units
from mal_tf.attribution.labelling import LabelPlan
from mal_tf.attribution.mechanism import DataDrivenMechanism, mechanism_errors
from mal_tf.attribution.shard import SOURCE_COLUMNS, Shard
from pipelines.config.labels import LabelsConfig
from pipelines.core import files
from pipelines.core.exchange import Exchange, from_ipc, to_ipc
from pipelines.labels import dead_letters, fits
from pipelines.labels.clock import Clock
from pipelines.labels.read_logs import raise_mixed_ids

#: Clicks that are encoded at a time.
_ROWS_ENCODED = 65_536

#: Bytes of Arrow columns that are encoded at a time, at most: an encoded batch has to stay below 2 GiB.
_BYTES_ENCODED = 1 << 27

log = logging.getLogger("mal_tf.labels")


class _Stopwatch:
    """Microseconds by step, as counts."""

    def __init__(self):
        self.counts: Counter = Counter()

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.counts["microseconds", step] += round((time.monotonic() - began) * 1e6)


class Prepare(beam.DoFn):
    """One shard's parcels to a sorted shard without duplicates: (number, (parcel of clicks, parcel of conversions)).

    Other outputs: `touchpoints`, counts of types before `Clock.eval_from`; `dead`, ids with other content; `counts`.
    """

    def __init__(self, schemas: Mapping[str, pa.Schema], plan: LabelPlan, paths: Sequence[str], exchange: Exchange):
        self._schemas, self._plan, self._paths, self._exchange = schemas, plan, paths, exchange

    def process(self, element, clock: Clock) -> Iterator[Any]:
        """Prepares one shard."""
        (number, found), timed = element, _Stopwatch()
        with timed("prepare"):
            by_table: dict[str, list] = {name: [] for name in self._schemas}
            for name, parcel in (piece for piece in found if piece is not None):
                by_table[name].append(parcel)
            clean = {}
            for name, id_column in (("clicks", "click_id"), ("conversions", "conversion_id")):
                whole = self._concatenate(by_table[name], self._schemas[name], id_column)
                clean[name], other, repeats = shard.drop_duplicates(whole, id_column)
                timed.counts[name, "exact_repeats"] = repeats
                yield from self._dead(name, id_column, other)
            prepared = shard.sort(clean["clicks"], clean["conversions"])
            if self._plan.data_driven:
                counted = labelling.count_touchpoints(prepared, self._plan, clock.eval_from)
                yield TaggedOutput("touchpoints", (None, to_ipc(counted).to_pybytes()))
            parcels = self._exchange.pack([prepared.clicks, prepared.conversions])
        yield TaggedOutput("counts", timed.counts)
        yield number, tuple(parcels)

    def _concatenate(self, parcels: list, schema: pa.Schema, id_column: str) -> pa.Table:
        tables = [self._exchange.unpack(parcel) for parcel in parcels]
        kinds = {str(t.schema.field(id_column).type) for t in tables}
        if len(kinds) > 1:
            raise_mixed_ids(id_column, kinds)
        return pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()

    def _dead(self, name: str, id_column: str, rows: pa.Table) -> Iterator[Any]:
        for file in pc.unique(rows["source_file"]).to_pylist():
            part = rows.filter(pc.equal(rows["source_file"], file))
            reasons = [f"{id_column} is a duplicate with other content"] * part.num_rows
            numbers = part["source_row"].to_pylist()
            yield dead_letters.letters(
                name, file, self._paths[file], numbers, reasons, part.drop(list(SOURCE_COLUMNS)).to_pandas()
            )


class Statistics(beam.DoFn):
    """A prepared shard to statistics: one output per data-driven mechanism, by its name, and `counts`."""

    def __init__(self, plan: LabelPlan):
        self._plan = plan

    def process(self, element, clock: Clock, types: Sequence[str]) -> Iterator[Any]:
        """Makes one shard's statistics."""
        (_, parcels), timed = element, _Stopwatch()
        with timed("statistics"):
            prepared = Shard(*map(Exchange.unpack, parcels))
            found = labelling.statistics(prepared, self._plan, types, clock.eval_from, clock.observed_until)
        yield TaggedOutput("counts", timed.counts)
        for name, statistics in found.items():
            yield TaggedOutput(f"fit:{name}", statistics)


class Fit:
    """Statistics of one mechanism from all shards to (name, fit), saved under `attribution/`."""

    def __init__(self, name: str, mechanism: DataDrivenMechanism, made_for: dict, output: str):
        self._name, self._mechanism, self._made_for, self._output = name, mechanism, made_for, output

    def __call__(self, statistics: Any) -> tuple[str, dict]:
        """Fits the mechanism."""
        log.info("fitting %s", self._name)
        with mechanism_errors(self._name, "fit"):
            fit = self._mechanism.fit(statistics)
            fits.write(self._output, self._name, self._made_for, fit)
        return self._name, fit


class Label(beam.DoFn):
    """A prepared shard to labelled TFRecord files: outputs `files`, `vocabulary` counts and `counts`."""

    def __init__(self, plan: LabelPlan, config: LabelsConfig, level: int, shards: int, output: str):
        self._plan, self._config, self._level, self._shards, self._output = plan, config, level, shards, output

    def process(self, element, clock: Clock, types: Sequence[str], found: Mapping[str, dict]) -> Iterator[Any]:
        """Labels one shard."""
        (number, parcels), timed = element, _Stopwatch()
        for name, fit in found.items():
            with mechanism_errors(name, "load"):
                self._plan.data_driven[name].load(fit)
        with timed("attribute"):
            prepared = Shard(*map(Exchange.unpack, parcels))
            clicks, counts = labelling.label(prepared, self._plan, types, clock.observed_until)
            counts["conversions", "written"] = prepared.conversions.num_rows
            del prepared
            chosen = clock.in_splits(np.asarray(clicks["timestamp"]))
            counts["clicks", "context"] = int((~chosen).sum())
            clicks, immature = self._mature(clicks if chosen.all() else clicks.filter(pa.array(chosen)))
            counts["clicks", f"immature_{'dropped' if self._config.immature == 'drop' else 'marked'}"] = immature
            is_eval, segment = clock.split_and_segment(np.asarray(clicks["timestamp"]))
        for split, segments in clock.segments().items():
            chosen = is_eval if split == "eval" else ~is_eval
            for index in range(segments):
                rows = clicks.filter(pa.array(chosen & (segment == index)))
                yield TaggedOutput("files", self._write(rows, split, index, segments, number, timed))
            counts += count_labels(clicks.filter(pa.array(chosen)), split, self._plan.mechanisms)
        with timed("vocabulary"):
            rows = clicks if self._config.vocabulary_of == "all" else clicks.filter(pa.array(~is_eval))
            for feature in self._plan.spec.with_vocabulary:
                counted = vocabulary.count(feature, flat(rows[feature.name]))
                yield TaggedOutput("vocabulary", (feature.name, to_ipc(counted).to_pybytes()))
        yield TaggedOutput("counts", counts + timed.counts)
        log.info("labelled shard %d of %d: %s clicks", number + 1, self._shards, f"{clicks.num_rows:,}")

    def _mature(self, clicks: pa.Table) -> tuple[pa.Table, int]:
        mature = np.asarray(clicks["mature"]) == 1
        kept = clicks.filter(pa.array(mature)) if self._config.immature == "drop" else clicks
        return kept, int((~mature).sum())

    def _write(
        self, rows: pa.Table, split: str, segment: int, segments: int, number: int, timed: _Stopwatch
    ) -> dict[str, Any]:
        out = tfrecord.GzippedTFRecords(self._level)
        with timed("encode"):
            rows = rows.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("click_id", "ascending")])
        at_once = max(min(_ROWS_ENCODED, _BYTES_ENCODED * rows.num_rows // max(rows.nbytes, 1)), 1)
        for batch in rows.combine_chunks().to_batches(at_once):
            with timed("encode"):
                records = example.encode(example.to_lists(batch))
            with timed("compress and write"):
                out.write(records)
        with timed("compress and write"):
            data = out.close()
            of = segments * self._shards
            name = f"Split-{split}/data_tfrecord-{segment * self._shards + number:05d}-of-{of:05d}.gz"
            files.write_bytes(FileSystems.join(self._output, name), data)
        written = {"path": name, "split": split, "segment": segment, "rows": rows.num_rows, "bytes": len(data)}
        labels = mature_labels(rows, self._plan.mechanisms).to_json()
        written |= {"click_id": str(rows.schema.field("click_id").type)}
        return written | {"sha256": hashlib.sha256(data).hexdigest(), "labels": labels}


def count_labels(rows: pa.Table | pa.RecordBatch, split: str, mechanisms: Iterable[str]) -> Counter:
    """Counts the rows of a split, their positives and credit by mechanism, and their CAT classes."""
    counts: Counter = Counter({("clicks", "written", split): rows.num_rows})
    for name in mechanisms:
        label = np.asarray(rows[f"label_{name}"])
        counts["positives", split, name] = int((label > 0).sum())
        counts["credit", split, name] = credit_units(label)
    classes, clicks = np.unique(np.asarray(rows["label_cat"]), return_counts=True)
    counts.update({("cat", split, int(c)): int(n) for c, n in zip(classes, clicks, strict=True)})
    return counts


def mature_labels(rows: pa.Table | pa.RecordBatch, mechanisms: Iterable[str]) -> LabelCounts:
    """Counts the labels of the rows that are mature, which are those that train."""
    mature = np.asarray(rows["mature"]) == 1
    return LabelCounts.count({name: np.asarray(rows[f"label_{name}"])[mature] for name in mechanisms})


def merge_counts(counts: Iterable[bytes]) -> bytes:
    """Counts of tokens in several parts to those of all together; parts may be merged a few at a time."""
    return to_ipc(vocabulary.merge(from_ipc(part) for part in counts)).to_pybytes()


class CutVocabulary:
    """Counts of one feature's tokens in all shards to its vocabulary file, grown from a previous one's lines."""

    def __init__(self, spec: FeatureSpec, previous: Mapping[str, list[str]], output: str):
        self._spec, self._previous, self._output = spec, previous, output

    def __call__(self, name: str, counts: bytes) -> None:
        """Cuts the vocabulary of the feature called `name`."""
        previous = self._previous.get(name)
        lines = vocabulary.cut(self._spec.scalar(name), from_ipc(counts), self._spec.vocabulary, previous)
        files.write_text(FileSystems.join(self._output, "vocabulary", f"{name}.txt"), vocabulary.write(lines))


class CutTypes:
    """Counts of touchpoint types to the list of those that do not fold, saved under `attribution/`."""

    def __init__(self, plan: LabelPlan, output: str):
        self._plan, self._output = plan, output

    def __call__(self, _: None, counts: bytes) -> list[str]:
        """Cuts the list of types."""
        types = vocabulary.cut(self._plan.touchpoint_feature, from_ipc(counts), self._plan.spec.vocabulary)
        fits.write_types(self._output, types)
        return types
