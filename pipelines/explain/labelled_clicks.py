"""Labelled clicks as the label job wrote them: one looked up by its id, or those in the journeys worth a look."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from features.errors import MalTfError
from features.keras2 import tf
from mal_tf.training.dataset import serialized
from pipelines.clicks.labelled import Labelled
from pipelines.explain.logs import Advance, silent

#: Clicks that are parsed at a time.
_BATCH = 16_384


@dataclasses.dataclass(frozen=True)
class Written:
    """A labelled click.

    Attributes:
        split: it is in.
        user_id: whose it is.
        click_id: as text.
        record: serialized tf.Example.
    """

    split: str
    user_id: str
    click_id: str
    record: bytes


def find(data: Labelled, click_id: str, advance: Advance = silent) -> list[Written]:
    """All labelled clicks with this id: ids are unique within a user alone.

    Raises:
        MalTfError: a file is damaged.
    """
    dtype = _id_dtype(data)
    if dtype == tf.int64 and not re.fullmatch(r"-?[0-9]{1,19}", click_id):
        return []
    wanted = int(click_id) if dtype == tf.int64 else click_id.encode()
    found = []
    for split in data.splits:
        for columns in _parsed(data, split, {"click_id": dtype, "user_id": tf.string}, advance):
            for place in np.flatnonzero(columns["click_id"] == wanted).tolist():
                user = columns["user_id"][place].decode()
                found.append(Written(split, user, click_id, columns["record"][place]))
    return found


def differing(record: bytes, other: bytes) -> list[str]:
    """Names of the columns in which two labelled clicks differ."""
    if record == other:
        return []
    now, then = (dict(tf.train.Example.FromString(one).features.feature) for one in (record, other))
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def candidates(data: Labelled, mechanisms: Sequence[str], lengths: tuple[int, int], per_length: int) -> pd.DataFrame:
    """The mature clicks that mechanisms label most differently, so many for each path length, of different users.

    The evaluation split's, whose predictions no model has learnt from; the training split's too, where there are too few.

    Args:
        data: labelled clicks.
        mechanisms: names.
        lengths: shortest and longest path.
        per_length: clicks of each path length.

    Returns:
        `path_length`, `difference` (the mean over pairs of mechanisms), `user_id`, `click_id` (text), `record`; the order
        and the choice do not depend on that of the files.

    Raises:
        MalTfError: a file is damaged.
    """
    parsing = {"click_id": _id_dtype(data), "user_id": tf.string, "path_length": tf.int64, "mature": tf.int64}
    parsing |= {f"label_{name}": tf.float32 for name in mechanisms}
    columns = ["path_length", "difference", "user_id", "click_id", "record"]
    best = pd.DataFrame({name: [] for name in columns})
    for split in ("eval", "train"):
        if len(best) >= per_length * (lengths[1] - lengths[0] + 1):
            break
        for found in _parsed(data, split, parsing):
            chosen = (
                (found["mature"] == 1) & (found["path_length"] >= lengths[0]) & (found["path_length"] <= lengths[1])
            )
            found = {name: values[chosen] for name, values in found.items()}
            found["difference"] = difference(np.stack([found[f"label_{name}"] for name in mechanisms]))
            found["user_id"], found["click_id"] = _texts(found["user_id"]), _texts(found["click_id"])
            best = _best(pd.concat([best, pd.DataFrame({name: found[name] for name in columns})]), per_length)
    return best.reset_index(drop=True)


def difference(values: np.ndarray) -> np.ndarray:
    """Mean absolute difference over the pairs of N values: float [N, C] to [C]; 0 of one value."""
    count = len(values)
    weights = 2.0 * np.arange(count) - count + 1  # Σ_{i<j} |x_i − x_j| = Σ_k (2k − N + 1) x_(k), k from 0.
    return weights @ np.sort(values.astype(np.float64), axis=0) / max(count * (count - 1) / 2, 1)


def _best(rows: pd.DataFrame, per_length: int) -> pd.DataFrame:
    # Equal differences are many, as labels are often 0 or 1: a hash of the ids chooses among them.
    rows = rows.assign(drawn=pd.util.hash_pandas_object(rows[["user_id", "click_id"]], index=False))
    by = {"path_length": True, "difference": False, "drawn": True, "user_id": True, "click_id": True}
    rows = rows.sort_values(list(by), ascending=list(by.values())).drop(columns="drawn")
    return rows.drop_duplicates(["path_length", "user_id"]).groupby("path_length").head(per_length)


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()], object)


def _id_dtype(data: Labelled) -> tf.DType:
    """int64 or string, as the first click's id is."""
    for split in data.splits.values():
        for record in serialized(split.segments, 1).take(1):
            feature = tf.train.Example.FromString(record.numpy()[0]).features.feature["click_id"]
            return tf.int64 if feature.WhichOneof("kind") == "int64_list" else tf.string
    return tf.string


def _parsed(
    data: Labelled, split: str, columns: Mapping[str, tf.DType], advance: Advance = silent
) -> Iterator[dict[str, np.ndarray]]:
    """Columns of a split's clicks, and each click's `record`, a batch at a time."""
    parsing = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in columns.items()}
    examples = serialized(data.splits[split].segments, _BATCH)
    batches = examples.map(lambda batch: {"record": batch} | tf.io.parse_example(batch, parsing))
    try:
        for batch in batches.prefetch(1):
            advance(len(batch["record"]))
            yield {name: values.numpy() for name, values in batch.items()}
    except tf.errors.DataLossError as error:
        raise MalTfError(f"{data.directory}, {split} split: {error.message}; run `labels` again") from error
