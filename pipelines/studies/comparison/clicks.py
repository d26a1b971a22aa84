"""The clicks that a comparison is evaluated on, with labels, users, slices, and the truth of a simulated market."""

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
    """Reads the mature clicks of the evaluation split.

    Args:
        labelled: output of the label job.
        mechanisms: mechanisms whose labels are read.
        slices: names from `Comparison.slices`.
        growth: user groups for slices by information gain.

    Returns:
        A row per click with `position` in the split, `click_id`, `user` (int64 code), `user_hash`, `path_length`,
        `label_<mechanism>`, the features of `slices`, and `information_gain`, the user's extra positives, if it is a slice.
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
    """Slices the clicks.

    Args:
        frame: clicks as returned by `evaluated`.
        by: a name from `Comparison.slices`.
        growth: bounds of the user groups.
        label: float [clicks], label of the primary target.
    """
    return by_count(frame[by].to_numpy(), growth.bounds) if by == INFORMATION_GAIN else slice_by(frame[by], label)


def truth_fingerprint(truth: TruthConfig | None) -> list:
    """Returns the settings and files, with sizes, of a market's truth, which tell whether it has changed."""
    return [truth.model_dump(mode="json"), _truth_files(truth)] if truth else []


def _truth_files(truth: TruthConfig) -> list[tuple[str, int]]:
    try:
        return files.match((truth.files,))
    except MalTfError as error:
        raise MalTfError(
            f"truth.files: {truth.files}: expected the output of `mal-tf simulate`, found no file"
        ) from error


def with_truth(frame: pd.DataFrame, truth: TruthConfig) -> pd.DataFrame:
    """Adds the columns `truth.caused` and `truth.oracles` of a market by click id.

    Raises:
        MalTfError: there are no such files, they lack a column, or they lack a click.
    """
    columns, tables = ["click_id", truth.caused, *truth.oracles], []
    for path, _ in _truth_files(truth):
        present = pq.read_schema(path).names
        if absent := [name for name in columns if name not in present]:
            raise MalTfError(f"truth: {path}: expected column '{absent[0]}', found: {', '.join(present)}")
        tables.append(pq.read_table(path, columns=columns).to_pandas())
    truth_by_click = pd.concat(tables).drop_duplicates("click_id")
    merged = frame.merge(truth_by_click, on="click_id", how="left")
    if missing := int(merged[truth.caused].isna().sum()):
        raise MalTfError(f"truth.files: {truth.files} lack {missing:,} of the {len(frame):,} evaluation clicks")
    return merged
