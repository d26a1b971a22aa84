"""The clicks that a comparison is judged on: labels, users, slices, and what a simulated market knows of them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from features.errors import MalTfError
from features.keras2 import tf
from features.parsing import MISSING
from mal_tf.training.dataset import serialized
from pipelines import files
from pipelines.comparison.config import GROWTH, PATH_LENGTH, GrowthConfig, TruthConfig
from pipelines.labelled import Labelled

#: Clicks parsed at a time.
_BATCH = 8192

#: Path lengths from here on are one slice.
_LONG = 4


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the clicks.

    Attributes:
        name: what it is a slice by, and which.
        chosen: bool [clicks].
    """

    name: str
    chosen: np.ndarray


def read(segments: Sequence[Sequence[str]], columns: Sequence[str]) -> pd.DataFrame:
    """Columns of labelled clicks, one value per click, in the files' order as `mal_tf.training.dataset` has it."""
    parsing = _parsing(segments, columns)
    parts = [
        pd.DataFrame({name: value.numpy() for name, value in tf.io.parse_example(examples, parsing).items()})
        for examples in serialized(segments, _BATCH)
    ]
    frame = pd.concat(parts, ignore_index=True)
    for name in frame:
        if frame[name].dtype == object:
            frame[name] = frame[name].str.decode("utf-8")
    return frame


def _parsing(segments: Sequence[Sequence[str]], columns: Sequence[str]) -> dict[str, tf.io.FixedLenFeature]:
    """How to parse columns, by the type that the first click has them in; a column it lacks is taken for text."""
    first = tf.train.Example.FromString(next(iter(serialized(segments, 1))).numpy()[0]).features.feature
    dtypes = {"bytes_list": "string", "float_list": "float32", "int64_list": "int64", None: "string"}
    found = {name: dtypes[first[name].WhichOneof("kind") if name in first else None] for name in columns}
    return {name: tf.io.FixedLenFeature([], tf.as_dtype(kind), MISSING[kind]) for name, kind in found.items()}


def evaluated(
    labelled: Labelled, mechanisms: Sequence[str], slices: Sequence[str], growth: GrowthConfig
) -> pd.DataFrame:
    """The mature clicks of the evaluation split.

    Args:
        labelled: splits.
        mechanisms: whose labels are wanted.
        slices: names of `Comparison.slices`.
        growth: for slices of that name.

    Returns:
        A row per click: `position` in the split, `click_id`, `user` (int64 code), `path_length`, `label_<mechanism>`, the
        features of `slices`; `growth`, the user's extra positives, if asked for.
    """
    labels = [f"label_{name}" for name in mechanisms]
    features = [name for name in slices if name not in (PATH_LENGTH, GROWTH)]
    columns = ["click_id", "user_id", "path_length", "mature", *labels, *features]
    frame = read(labelled.splits["eval"].segments, columns)
    frame["position"] = np.arange(len(frame))
    frame = frame[frame["mature"] == 1].reset_index(drop=True)
    if GROWTH in slices:
        past = read(labelled.splits["train"].segments[-growth.segments :], ["user_id", *_pair(growth)])
        extra = (past[_pair(growth)[0]] > 0).astype(int) - (past[_pair(growth)[1]] > 0).astype(int)
        frame[GROWTH] = frame["user_id"].map(extra.groupby(past["user_id"]).sum()).fillna(0).astype(np.int64)
    frame["user"] = pd.factorize(frame["user_id"], sort=True)[0].astype(np.int64)
    return frame


def _pair(growth: GrowthConfig) -> list[str]:
    return [f"label_{growth.wider}", f"label_{growth.narrower}"]


def sliced(frame: pd.DataFrame, by: str, growth: GrowthConfig, label: np.ndarray) -> list[Slice]:
    """Slices of the clicks.

    Args:
        frame: as `evaluated` returns it.
        by: a name of `Comparison.slices`.
        growth: bounds of the user groups.
        label: float [clicks], of the primary target: path lengths are of its positives, with all negatives.
    """
    if by == PATH_LENGTH:
        length, negative = frame[by].to_numpy(), label <= 0
        found = [(f"{n} click{'s' if n > 1 else ''}", length == n) for n in range(1, _LONG)]
        found.append((f"{_LONG} or more", length >= _LONG))
        return [Slice(name, negative | chosen) for name, chosen in found]
    if by == GROWTH:
        extra, bounds = frame[by].to_numpy(), [*growth.bounds, np.inf]
        found = [("none", extra < bounds[0])]
        for low, high in zip(bounds, bounds[1:], strict=False):
            name = f"{low} or more" if high == np.inf else f"{low}" if high == low + 1 else f"{low} to {high - 1}"
            found.append((name, (extra >= low) & (extra < high)))
        return [Slice(name, chosen) for name, chosen in found]
    values = frame[by].astype(str)
    return [Slice(value, (values == value).to_numpy()) for value in values.value_counts().index]


def with_truth(frame: pd.DataFrame, truth: TruthConfig) -> pd.DataFrame:
    """Adds a market's columns `truth.caused` and `truth.oracles`, found by click id.

    Raises:
        MalTfError: there are no such files, or they do not know every click.
    """
    paths = [path for path, _ in files.match((truth.files,))]
    columns = [truth.caused, *truth.oracles]
    known = pd.concat([pq.read_table(path, columns=["click_id", *columns]).to_pandas() for path in paths])
    merged = frame.merge(known, on="click_id", how="left", validate="one_to_one")
    if unknown := int(merged[truth.caused].isna().sum()):
        raise MalTfError(f"truth.files: {truth.files} lack {unknown:,} of the {len(frame):,} evaluation clicks")
    return merged
