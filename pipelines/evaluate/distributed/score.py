"""First step of the evaluation job: label files to scored clicks by shard of users, and what is known of them all."""

import logging
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from features.arrays import flat, stable_hash
from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.serving.export import OUTPUT
from mal_tf.serving.inputs import check_features
from pipelines.clicks.scoring import check_finite
from pipelines.core.exchange import Exchange, Parcel
from pipelines.evaluate.distributed.plan import Seen
from pipelines.evaluate.distributed.slices import Slices

#: Clicks that are dealt to shards at a time: more make fewer, larger parcels.
_ROWS_DEALT = 262_144

#: What a parcel holds: scored clicks, or what the past says of users.
CLICKS, PAST = "clicks", "past"

log = logging.getLogger("mal_tf.evaluate")


class _Models:
    """Signatures by name, once per process."""

    def __init__(self, versions: Mapping[str, str], features: Collection[str]):
        self.signatures = {name: _load(name, version, features) for name, version in versions.items()}
        # Beam may keep this to Python's very end, when TensorFlow's destructors print errors; this is called before.
        weakref.finalize(self, self.signatures.clear)


def _load(name: str, version: str, features: Collection[str]):
    try:
        model = tf.saved_model.load(version)
        check_features(model, features, f"model '{name}'", "the label job")
        return model.signatures["serving_default"]
    except (OSError, KeyError, tf.errors.OpError) as error:
        raise MalTfError(
            f"model '{name}': {version}: expected a SavedModel with the signature serving_default: {error}; export it again"
        ) from error


class Score(beam.DoFn):
    """(Label file, its rows) to parcels of its mature clicks by shard of users; output `seen` is what plans need.

    Args:
        versions: directory of the SavedModel by model name.
        features: what the clicks have.
        parsing: scalar columns to read beside, as `tf.io.parse_example` takes them.
        slices: how clicks are sliced.
        batch_size: clicks scored at a time.
        shards: how many parts the users are split into.
        exchange: how tables travel.
    """

    def __init__(
        self,
        versions: Mapping[str, str],
        features: Collection[str],
        parsing: Mapping[str, tf.io.FixedLenFeature],
        slices: Slices,
        batch_size: int,
        shards: int,
        exchange: Exchange,
    ):
        self._versions, self._features = dict(versions), list(features)
        self._parsing, self._slices = dict(parsing), slices
        self._batch_size, self._shards, self._exchange, self._shared = batch_size, shards, exchange, Shared()

    def setup(self):
        """Loads the models."""
        self._models = self._shared.acquire(lambda: _Models(self._versions, self._features))

    def process(self, file: tuple[str, int]) -> Iterator[Any]:
        """Scores one file."""
        (path, expected), began, rows = file, time.monotonic(), 0
        waiting: list[pa.Table] = []
        for batch in self._scored(path):
            rows += batch.num_rows
            waiting.append(batch.filter(pa.compute.equal(batch["mature"], 1)).drop(["mature"]))
            if sum(part.num_rows for part in waiting) >= _ROWS_DEALT:
                yield from self._deal(waiting)
                waiting = []
        yield from self._deal(waiting)
        if rows != expected:
            raise MalTfError(f"{path}: expected {expected:,} clicks, found {rows:,}; run `labels` again")
        seconds = time.monotonic() - began
        log.info("%s: %s clicks scored (%s clicks/s)", path, f"{rows:,}", f"{rows / (seconds + 1e-6):,.0f}")

    def _scored(self, path: str) -> Iterator[pa.Table]:
        """Batches of the file's clicks: columns read, and `cvr_<model>`."""
        for examples, clicks in batches(path, self._parsing, self._batch_size):
            for name, model in self._models.signatures.items():
                clicks = clicks.append_column(f"{OUTPUT}_{name}", pa.array(_predictions(name, model, examples, path)))
            yield clicks

    def _deal(self, waiting: Sequence[pa.Table]) -> Iterator[Any]:
        clicks = pa.concat_tables(waiting).combine_chunks() if waiting else None
        if clicks is None or not clicks.num_rows:
            return
        yield TaggedOutput("seen", Seen.of(clicks.to_pandas(), list(self._versions), self._slices))
        yield from deal(self._exchange, CLICKS, clicks, self._shards)


def deal(exchange: Exchange, kind: str, rows: pa.Table, shards: int) -> Iterator[tuple[int, tuple[str, Parcel]]]:
    """Rows with a `user_id` to (shard of the user, (kind, parcel))."""
    shard = (stable_hash(flat(rows["user_id"])) % np.uint64(shards)).astype(np.int64)
    for number, parcel in exchange.deal(rows, shard, shards):
        yield number, (kind, parcel)


def batches(path: str, parsing: Mapping[str, tf.io.FixedLenFeature], size: int) -> Iterator[tuple[tf.Tensor, pa.Table]]:
    """A label file's serialized tf.Examples, string [batch], and their columns.

    Raises:
        MalTfError: it can't be read, or lacks a column.
    """
    try:
        for examples in tf.data.TFRecordDataset(path, "GZIP").batch(size):
            parsed = tf.io.parse_example(examples, parsing)
            yield examples, pa.table({name: _arrow(value.numpy()) for name, value in parsed.items()})
    except tf.errors.OpError as error:
        raise MalTfError(f"{path} can't be read as labelled tf.Examples: {error.message}") from error


def _arrow(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string()) if values.dtype == object else pa.array(values)


def _predictions(name: str, model, examples: tf.Tensor, path: str) -> np.ndarray:
    try:
        found = model(examples=examples)[OUTPUT].numpy()
    except (tf.errors.OpError, KeyError) as error:
        reason = getattr(error, "message", str(error)).split("<stack traces unavailable>")[-1]
        raise MalTfError(f"model '{name}' can't score {path}: {' '.join(reason.split())}") from error
    return check_finite(found, name, path)
