"""Steps of the label job after the shuffle, which prepare shards, fit mechanisms, write labels and cut vocabularies."""

import contextlib
import hashlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from features import example, tfrecord, vocabulary
from features.arrays import codes, flat, id_codes
from features.spec import FeatureSpec
from mal_tf.attribution import labelling, shard
from mal_tf.attribution.label_counts import LabelCounts, credit_units
from mal_tf.attribution.labelling import LabelPlan
from mal_tf.attribution.mechanism import DataDrivenMechanism, mechanism_errors
from mal_tf.attribution.shard import SOURCE_COLUMNS, USER, Shard
from pipelines.config.labels import LabelsConfig, TFRecordsConfig
from pipelines.core import files
from pipelines.core.exchange import Exchange, from_ipc, to_ipc
from pipelines.labels import dead_letters, fits, training_table
from pipelines.labels.clock import Clock

#: Number of clicks encoded at a time.
_ROWS_ENCODED = 65_536

#: Largest number of bytes of Arrow columns encoded at a time, as an encoded batch has to stay below 2 GiB.
_BYTES_ENCODED = 1 << 27

log = logging.getLogger("mal_tf.labels")


class _Stopwatch:
    """Measures the microseconds spent in each step as counts."""

    def __init__(self):
        self.counts: Counter = Counter()

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.counts["microseconds", step] += round((time.monotonic() - began) * 1e6)


class Prepare(beam.DoFn):
    """Merges the parcels of a shard into sorted tables without duplicates.

    Elements are (shard, (table, parcel)). Other outputs are `touchpoints`, counts of touchpoint types
    before `Clock.eval_from`; `dead`, rows that repeat an id with different content; and `counts`.
    """

    def __init__(self, schemas: Mapping[str, pa.Schema], plan: LabelPlan, paths: Sequence[str], exchange: Exchange):
        self._schemas, self._plan, self._paths, self._exchange = schemas, plan, paths, exchange

    def process(self, element, clock: Clock) -> Iterator[Any]:
        """Prepares a shard."""
        (number, elements), timed = element, _Stopwatch()
        with timed("prepare"):
            by_table: dict[str, list] = {name: [] for name in self._schemas}
            for name, parcel in (entry for entry in elements if entry is not None):
                by_table[name].append(parcel)
            clicks = yield from self._distinct("clicks", "click_id", by_table["clicks"], clock, timed.counts)
            whole = clock.in_units(self._concatenate("conversions", by_table["conversions"]))
            latest = shard.keep_latest(whole, "conversion_id")
            dropped = {"restated": latest.restated, "exact_repeats": latest.repeats, "of_one_row": latest.of_one_row}
            timed.counts.update({("conversions", name): count for name, count in dropped.items()})
            context = []
            for name in self._schemas:
                if name in ("clicks", "conversions"):
                    continue
                kept = yield from self._distinct(name, "touch_id", by_table[name], clock, timed.counts)
                timed.counts[name, "written"] = kept.num_rows
                context.append(kept)
            prepared = shard.sort(clicks, latest.rows, context)
            timed.counts.update(user_counts(prepared))
            if self._plan.data_driven:
                counted = labelling.count_touchpoints(prepared, self._plan, clock.eval_from)
                yield TaggedOutput("touchpoints", (None, to_ipc(counted).to_pybytes()))
            parcels = self._exchange.pack([prepared.clicks, prepared.conversions, *prepared.context])
        timed.counts["time_unit", clock.units_per_second] = 1
        yield TaggedOutput("counts", timed.counts)
        yield number, tuple(parcels)

    def _distinct(
        self, name: str, id_column: str, parcels: list, clock: Clock, counts: Counter
    ) -> Generator[Any, None, pa.Table]:
        """Returns the rows of a table without repeats of an id, which it counts; yields dead letters of those that differ."""
        whole = clock.in_units(self._concatenate(name, parcels))
        kept, conflicting, counts[name, "exact_repeats"] = shard.drop_duplicates(whole, id_column)
        yield from self._dead(name, id_column, conflicting)
        return kept

    def _concatenate(self, name: str, parcels: list) -> pa.Table:
        tables = [self._exchange.unpack(parcel) for parcel in parcels]
        return pa.concat_tables(tables).combine_chunks() if tables else self._schemas[name].empty_table()

    def _dead(self, name: str, id_column: str, rows: pa.Table) -> Iterator[Any]:
        for file in pc.unique(rows["source_file"]).to_pylist():
            part = rows.filter(pc.equal(rows["source_file"], file))
            reasons = [f"{id_column} is a duplicate with other content"] * part.num_rows
            numbers = part["source_row"].to_pylist()
            yield dead_letters.letters(name, file, self._paths[file], numbers, reasons, part.drop(list(SOURCE_COLUMNS)))


class Statistics(beam.DoFn):
    """Computes the statistics of a shard for data-driven mechanisms; outputs are `fit:<name>` for each, and `counts`."""

    def __init__(self, plan: LabelPlan):
        self._plan = plan

    def process(self, element, clock: Clock, types: Sequence[str]) -> Iterator[Any]:
        """Computes the statistics of a shard."""
        (_, parcels), timed = element, _Stopwatch()
        with timed("statistics"):
            prepared = Shard.from_tables(map(Exchange.unpack, parcels))
            plan = self._plan.in_units(clock.units_per_second)
            by_mechanism = labelling.statistics(prepared, plan, types, clock.eval_from, clock.observed_until)
        yield TaggedOutput("counts", timed.counts)
        for name, statistics in by_mechanism.items():
            yield TaggedOutput(f"fit:{name}", statistics)


class Fit:
    """Fits a mechanism to the merged statistics of all shards, saves the fit under `attribution/` and returns (name, fit)."""

    def __init__(self, name: str, mechanism: DataDrivenMechanism, made_for: dict, output: str):
        self._name, self._mechanism, self._made_for, self._output = name, mechanism, made_for, output

    def __call__(self, statistics: Any) -> tuple[str, dict]:
        """Fits the mechanism."""
        log.info("fitting %s", self._name)
        with mechanism_errors(self._name, "fit"):
            fit = self._mechanism.fit(statistics)
            fits.write(self._output, self._name, self._made_for, fit)
        return self._name, fit


class Merge:
    """Statistics of one mechanism from some shards to those of all of them together."""

    def __init__(self, name: str, mechanism: DataDrivenMechanism):
        self._name, self._mechanism = name, mechanism

    def __call__(self, parts: Iterable[Any]) -> Any:
        """Merges the statistics."""
        with mechanism_errors(self._name, "merge"):
            return self._mechanism.merge(parts)


class Label(beam.DoFn):
    """Labels the clicks of a prepared shard and writes them as TFRecord files.

    Outputs are `files`, manifest entries of the files; `vocabulary`, counts of tokens by feature; and `counts`.
    """

    def __init__(self, plan: LabelPlan, config: LabelsConfig, tfrecords: TFRecordsConfig, shards: int, output: str):
        self._plan, self._config, self._shards, self._output = plan, config, shards, output
        self._level, self._also = tfrecords.compression_level, tfrecords.also

    def process(self, element, clock: Clock, types: Sequence[str], fitted: Mapping[str, dict]) -> Iterator[Any]:
        """Labels a shard."""
        (number, parcels), timed = element, _Stopwatch()
        for name, fit in fitted.items():
            with mechanism_errors(name, "load"):
                self._plan.data_driven[name].load(fit)
        with timed("attribute"):
            prepared = Shard.from_tables(map(Exchange.unpack, parcels))
            plan = self._plan.in_units(clock.units_per_second)
            clicks, counts = labelling.label(prepared, plan, types, clock.observed_until)
            counts["conversions", "written"] = prepared.conversions.num_rows
            del prepared
            in_split = clock.in_splits(np.asarray(clicks["timestamp"]))
            counts["clicks", "context"] = int((~in_split).sum())
            clicks, immature = self._mature(clicks if in_split.all() else clicks.filter(pa.array(in_split)))
            counts["clicks", f"immature_{'dropped' if self._config.immature == 'drop' else 'marked'}"] = immature
        with timed("sort"):
            ids, (users,) = id_codes(flat(clicks["click_id"])), codes(flat(clicks["user_id"]))
            # In the order of the files, as splits and their segments are ranges of time.
            clicks = clicks.take(pa.array(np.lexsort((ids, users, clicks["timestamp"].to_numpy()))))
            is_eval, segment = clock.split_and_segment(clicks["timestamp"].to_numpy())
        first_eval = int(np.searchsorted(is_eval, True))
        by_split = {"train": clicks.slice(0, first_eval), "eval": clicks.slice(first_eval)}
        for split, segments in clock.segments().items():
            rows, in_split = by_split[split], segment[is_eval == (split == "eval")]
            bounds = np.searchsorted(in_split, np.arange(segments + 1))
            for index, (begin, end) in enumerate(itertools.pairwise(bounds.tolist())):
                part = plan.in_file_units(rows.slice(begin, end - begin))
                yield TaggedOutput("files", self._write(part, split, index, segments, number, timed))
            counts += count_labels(rows, split, self._plan.mechanisms)
        with timed("vocabulary"):
            rows = clicks if self._config.vocabulary_of == "all" else by_split["train"]
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
        self,
        rows: pa.Table,
        split: str,
        segment: int,
        segments: int,
        number: int,
        timed: _Stopwatch,
    ) -> dict[str, Any]:
        out = tfrecord.GzippedTFRecords(self._level)
        batch_rows = max(min(_ROWS_ENCODED, _BYTES_ENCODED * rows.num_rows // max(rows.nbytes, 1)), 1)
        for batch in rows.combine_chunks().to_batches(batch_rows):
            with timed("encode"):
                records = example.encode(example.to_lists(batch))
            with timed("compress and write"):
                out.write(records)
        with timed("compress and write"):
            data = out.close()
            total = segments * self._shards
            name = f"Split-{split}/data_tfrecord-{segment * self._shards + number:05d}-of-{total:05d}.gz"
            files.write_bytes(FileSystems.join(self._output, name), data)
        entry = {"path": name, "split": split, "segment": segment, "rows": rows.num_rows, "bytes": len(data)}
        labels = mature_labels(rows, self._plan.mechanisms).to_json()
        entry |= {"click_id": str(rows.schema.field("click_id").type), "encoder": tfrecord.encoder(self._level)}
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "labels": labels}
        if self._also:
            with (
                timed("write table"),
                training_table.created(self._output, split, segment, number, rows.schema) as table,
            ):
                table.write(rows)
            entry["table"] = table.entry
        return entry


def user_counts(prepared: Shard) -> Counter:
    """Counts the users who clicked, and the clicks of the one with most of them."""
    users, clicks = np.unique(prepared.clicks[USER].to_numpy(), return_counts=True)
    counts: Counter = Counter({("clicks", "users"): users.size, ("clicks", "distinct"): prepared.clicks.num_rows})
    if users.size:
        first = int(np.searchsorted(prepared.clicks[USER].to_numpy(), users[clicks.argmax()]))
        counts["user", prepared.clicks["user_id"][first].as_py()] = int(clicks.max())
    return counts


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
    """Counts the labels of the mature rows, which are those used for training."""
    mature = np.asarray(rows["mature"]) == 1
    return LabelCounts.count({name: np.asarray(rows[f"label_{name}"])[mature] for name in mechanisms})


def merge_counts(counts: Iterable[bytes]) -> bytes:
    """Merges serialized counts of tokens. The operation is associative, as Beam may merge a few parts at a time."""
    return to_ipc(vocabulary.merge(from_ipc(part) for part in counts)).to_pybytes()


class CutVocabulary:
    """Writes the vocabulary file of a feature from the counts of its tokens, extending the previous vocabulary if given."""

    def __init__(self, spec: FeatureSpec, previous: Mapping[str, list[str]], output: str):
        self._spec, self._previous, self._output = spec, previous, output

    def __call__(self, name: str, counts: bytes) -> None:
        """Cuts the vocabulary of the feature called `name` to its size limits and writes it."""
        previous = self._previous.get(name)
        lines = vocabulary.cut(self._spec.feature(name), from_ipc(counts), self._spec.vocabulary, previous)
        files.write_text(FileSystems.join(self._output, "vocabulary", f"{name}.txt"), vocabulary.write(lines))


class CutTypes:
    """Selects the touchpoint types that are not merged into the rare type, and saves them under `attribution/`."""

    def __init__(self, plan: LabelPlan, output: str):
        self._plan, self._output = plan, output

    def __call__(self, _: None, counts: bytes) -> list[str]:
        """Returns the selected types."""
        types = vocabulary.cut(self._plan.touchpoint_feature, from_ipc(counts), self._plan.spec.vocabulary)
        fits.write_types(self._output, types)
        return types
