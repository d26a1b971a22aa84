"""Finds labelled clicks in the label files: by id, or those that the mechanisms label most differently."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.keras2 import tf
from pipelines.clicks.labelled import Labelled
from pipelines.explain.logs import Advance, silent

#: Number of clicks that are parsed at a time.
_BATCH = 16_384


@dataclasses.dataclass(frozen=True)
class LabelledClick:
    """A labelled click in the label files.

    Attributes:
        split: the split that contains it.
        user_id: the click's user.
        click_id: the id as text.
        record: the serialized tf.Example.
    """

    split: str
    user_id: str
    click_id: str
    record: bytes


def find(data: Labelled, click_id: str, advance: Advance = silent) -> list[LabelledClick]:
    """Return all labelled clicks with an id. There may be several, as ids are unique within a user only.

    Raises:
        MalTfError: a file is damaged.
    """
    whole_numbers = data.types["click_id"] == "int64"
    if whole_numbers and not (re.fullmatch(r"-?[0-9]{1,19}", click_id) and -(2**63) <= int(click_id) < 2**63):
        return []
    wanted = int(click_id) if whole_numbers else click_id
    clicks = []
    for split in data.splits:
        for batch in data.clicks(split).read(["click_id", "user_id"], _BATCH, _records):
            advance(batch.num_rows)
            for row in batch.filter(pc.equal(batch["click_id"], wanted)).to_pylist():
                clicks.append(LabelledClick(split, row["user_id"], click_id, row["record"]))
    return clicks


def differing(record: bytes, other: bytes) -> list[str]:
    """Return the names of the columns in which two labelled clicks, given as tf.Examples, differ."""
    if record == other:
        return []
    now, then = (dict(tf.train.Example.FromString(one).features.feature) for one in (record, other))
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def candidates(data: Labelled, mechanisms: Sequence[str], lengths: tuple[int, int], per_length: int) -> pd.DataFrame:
    """Return the mature clicks that mechanisms label most differently, for each path length and each of another user.

    Clicks are from the evaluation split, which no model was trained on, and from the training split if there are too few.

    Args:
        data: the labelled clicks.
        mechanisms: names of the mechanisms.
        lengths: shortest and longest path length.
        per_length: number of clicks of each path length.

    Returns:
        Columns `path_length`, `difference` (the mean over pairs of mechanisms), `user_id`, `click_id` (text) and `record`.
        Neither the choice nor the order depends on the order of the files.

    Raises:
        MalTfError: a file is damaged.
    """
    labels = [f"label_{name}" for name in mechanisms]
    columns = ["path_length", "difference", "user_id", "click_id", "record"]
    best = pd.DataFrame({name: [] for name in columns})
    for split in ("eval", "train"):
        if len(best) >= per_length * (lengths[1] - lengths[0] + 1):
            break
        read = ["click_id", "user_id", "path_length", "mature", *labels]
        for batch in data.clicks(split).read(read, _BATCH, _records):
            length = batch["path_length"].to_numpy()
            chosen = (batch["mature"].to_numpy() == 1) & (length >= lengths[0]) & (length <= lengths[1])
            clicks = batch.filter(pa.array(chosen)).to_pandas()
            clicks["difference"] = difference(np.stack([clicks[name].to_numpy() for name in labels]))
            clicks["click_id"] = clicks["click_id"].astype(str)
            best = _best(pd.concat([best, clicks[columns]]), per_length)
    return best.reset_index(drop=True)


def difference(values: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference over all pairs of N values: float [N, C] to float64 [C]; 0 if N is 1."""
    count = len(values)
    weights = 2.0 * np.arange(count) - count + 1  # Σ_{i<j} |x_i − x_j| = Σ_k (2k − N + 1) x_(k), k from 0.
    return weights @ np.sort(values.astype(np.float64), axis=0) / max(count * (count - 1) / 2, 1)


def _best(rows: pd.DataFrame, per_length: int) -> pd.DataFrame:
    # Many differences are equal, as labels are often 0 or 1. A hash of the ids chooses among those.
    rows = rows.assign(drawn=pd.util.hash_pandas_object(rows[["user_id", "click_id"]], index=False))
    by = {"path_length": True, "difference": False, "drawn": True, "user_id": True, "click_id": True}
    rows = rows.sort_values(list(by), ascending=list(by.values())).drop(columns="drawn")
    return rows.drop_duplicates(["path_length", "user_id"]).groupby("path_length").head(per_length)


def _records(examples: tf.Tensor) -> dict[str, np.ndarray]:
    return {"record": examples.numpy()}
