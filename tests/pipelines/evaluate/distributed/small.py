"""Small labelled splits and exported models, made without labelling or training anything."""

import hashlib

import numpy as np
import pyarrow as pa

from features import example, tfrecord, vocabulary
from features.keras2 import tf
from pipelines.core import files, manifest
from tests.support.project import DAY, START

MECHANISMS = ("first", "last", "linear", "mta")
PLACES = ("top", "side", "feed", "")
TYPES = (
    dict.fromkeys(("click_id", "user_id", "place"), "string")
    | dict.fromkeys(("timestamp", "path_length", "mature", "item"), "int64")
    | dict.fromkeys(("price", *(f"label_{name}" for name in MECHANISMS)), "float32")
)


def clicks(generator: np.random.Generator, count: int, users: int, start: int) -> pa.Table:
    """A day's clicks with fractional labels, users of one class, immature clicks and tokens that are missing."""
    converted = generator.random(count) < 0.3
    credit = np.where(converted, generator.choice(np.float32([0, 0.25, 1 / 3, 1]), (len(MECHANISMS), count)), 0)
    credit[MECHANISMS.index("linear")] = np.maximum(credit.max(axis=0), converted * np.float32(0.1))
    user = (users * generator.random(count) ** 3).astype(np.int64)
    return pa.table(
        {
            "click_id": pa.array([f"{start}-{n}" for n in range(count)]),
            "user_id": pa.array([f"u{u}" for u in user]),
            "timestamp": np.sort(start + generator.integers(DAY, size=count)),
            "path_length": np.where(converted, generator.integers(1, 7, count), 0),
            "mature": (generator.random(count) < 0.95).astype(np.int64),
            "place": pa.array(generator.choice(PLACES, count, p=[0.5, 0.3, 0.1, 0.1])),
            "item": generator.integers(1, 9, count),
            "price": np.float32(generator.gamma(2.0, 10.0, count).round(generator.integers(0, 3))),
        }
        | {f"label_{name}": np.float32(credit[n]) for n, name in enumerate(MECHANISMS)}
    )


def write_labels(directory: str, days: dict[str, list[pa.Table]], parts: int = 2, order: int = 0) -> str:
    """What a label job leaves: a segment per day, each in as many files; returns the directory.

    Args:
        directory: to write to.
        days: clicks of each day, by split.
        parts: files of a segment.
        order: rows are dealt to files in another order for each number.
    """
    entries = []
    for split, tables in days.items():
        for segment, table in enumerate(tables):
            place = np.random.default_rng(order).integers(parts, size=table.num_rows)
            for part in range(parts):
                rows = table.filter(pa.array(place == part)).combine_chunks()
                out = tfrecord.GzippedTFRecords(1)
                for batch in rows.to_batches():
                    out.write(example.encode(example.to_lists(batch)))
                data, name = out.close(), f"Split-{split}/data_tfrecord-{segment * parts + part:05d}.gz"
                files.write_bytes(f"{directory}/{name}", data)
                entry = {"path": name, "split": split, "segment": segment, "rows": rows.num_rows, "bytes": len(data)}
                entries.append(entry | {"sha256": hashlib.sha256(data).hexdigest()})
    for name, lines in {"place": ["top", "side"], "item": ["1", "2", "3"], "price": ["10.0", "20.0", "30.0"]}.items():
        files.write_text(f"{directory}/vocabulary/{name}.txt", vocabulary.write(lines))
    columns = [{"name": name, "type": dtype} for name, dtype in TYPES.items()]
    manifest.finish(directory, {"made_from": directory, "columns": columns, "files": entries})
    return directory


def labelled(directory: str, seed: int = 0, count: int = 600, users: int = 60, **how) -> str:
    """A label job's directory with two training days and two evaluation days of so many clicks each."""
    generator = np.random.default_rng(seed)
    days = [clicks(generator, count, users, START + n * DAY) for n in range(4)]
    return write_labels(directory, {"train": days[:2], "eval": days[2:]}, **how)


class _Model(tf.Module):
    """A CVR that falls with the price, rounded so that there are ties."""

    def __init__(self, slope: float, steps: int, broken: float):
        self._slope, self._steps, self._broken = slope, steps, broken

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples):
        price = tf.io.parse_example(examples, {"price": tf.io.FixedLenFeature([], tf.float32)})["price"]
        with tf.control_dependencies([tf.debugging.assert_less(price, self._broken, "the price is too high")]):
            return {"cvr": tf.round(tf.sigmoid(-self._slope * price) * self._steps) / self._steps}


def write_model(directory: str, slope: float = 0.05, steps: int = 200, broken: float = 1e9) -> str:
    """An export whose predictions for prices from `broken` on fail; returns the directory."""
    model = _Model(slope, steps, broken)
    tf.saved_model.save(model, directory, {"serving_default": model.serve})
    return directory
