"""The clicks that a comparison is judged on: labels, users, slices, and what a simulated market knows of them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from features.errors import MalTfError
from pipelines.clicks.labelled import Labelled
from pipelines.clicks.scoring import extra_positives
from pipelines.config.evaluation import INFORMATION_GAIN, GrowthConfig
from pipelines.core import files
from pipelines.evaluate import users
from pipelines.evaluate.slices import Slice, by_count, slice_by
from pipelines.studies.comparison.config import NO_FEATURE, TruthConfig


def evaluated(
    labelled: Labelled, mechanisms: Sequence[str], slices: Sequence[str], growth: GrowthConfig
) -> pd.DataFrame:
    """The mature clicks of the evaluation split.

    Args:
        labelled: splits.
        mechanisms: whose labels are wanted.
        slices: names of `Comparison.slices`.
        growth: for slices by information gain.

    Returns:
        A row per click: `position` in the split, `click_id`, `user` (int64 code) and `user_hash`, `path_length`,
        `label_<mechanism>`, the features of `slices`; `information_gain`, the user's extra positives, if asked for.
    """
    columns = ["click_id", "user_id", "path_length", "mature", *(f"label_{name}" for name in mechanisms)]
    columns += [name for name in slices if name not in NO_FEATURE]
    frame = labelled.clicks("eval").frame(columns)
    frame["position"] = np.arange(len(frame))
    frame = frame[frame["mature"] == 1].reset_index(drop=True)
    if INFORMATION_GAIN in slices:
        frame[INFORMATION_GAIN] = extra_positives(frame["user_id"], labelled.clicks("train"), growth)
    frame["user"], hashed = users.coded(frame["user_id"])
    frame["user_hash"] = hashed[frame["user"]]
    return frame


def sliced(frame: pd.DataFrame, by: str, growth: GrowthConfig, label: np.ndarray) -> list[Slice]:
    """Slices of the clicks.

    Args:
        frame: as `evaluated` returns it.
        by: a name of `Comparison.slices`.
        growth: bounds of the user groups.
        label: float [clicks], of the primary target.
    """
    return by_count(frame[by].to_numpy(), growth.bounds) if by == INFORMATION_GAIN else slice_by(frame[by], label)


def of_truth(truth: TruthConfig | None) -> list:
    """What tells whether a market's truth has changed: its files with their sizes."""
    return [truth.model_dump(mode="json"), _truth_files(truth)] if truth else []


def _truth_files(truth: TruthConfig) -> list[tuple[str, int]]:
    try:
        return files.match((truth.files,))
    except MalTfError as error:
        raise MalTfError(f"truth.files: {truth.files}: expected what `mal-tf simulate` wrote, found no file") from error


def with_truth(frame: pd.DataFrame, truth: TruthConfig) -> pd.DataFrame:
    """Adds a market's columns `truth.caused` and `truth.oracles`, found by click id.

    Raises:
        MalTfError: there are no such files, they lack a column, or they do not know every click.
    """
    columns, tables = ["click_id", truth.caused, *truth.oracles], []
    for path, _ in _truth_files(truth):
        there = pq.read_schema(path).names
        if absent := [name for name in columns if name not in there]:
            raise MalTfError(f"truth: {path} has no column '{absent[0]}'; it has: {', '.join(there)}")
        tables.append(pq.read_table(path, columns=columns).to_pandas())
    known = pd.concat(tables).drop_duplicates("click_id")
    merged = frame.merge(known, on="click_id", how="left")
    if unknown := int(merged[truth.caused].isna().sum()):
        raise MalTfError(f"truth.files: {truth.files} lack {unknown:,} of the {len(frame):,} evaluation clicks")
    return merged
