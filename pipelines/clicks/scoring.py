"""Scoring labelled clicks for evaluation, and the columns that slices of the evaluation are based on."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import MalTfError
from features.feature import MISSING
from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from mal_tf.serving.exports import Exports
from pipelines.clicks.labelled import Labelled, LabelledClicks
from pipelines.config.evaluation import (
    CLICK_AGE,
    INFORMATION_GAIN,
    KNOWN_PREFIX,
    USER_HISTORY,
    GrowthConfig,
    slice_features,
)
from pipelines.config.run import RunConfig
from pipelines.core import files

PREDICTIONS = "predictions.parquet"


def score(
    config: RunConfig,
    labelled: Labelled,
    versions: Mapping[str, str],
    output: str,
    features: Sequence[str] = (),
    split: str = "eval",
) -> pd.DataFrame:
    """Scores the mature clicks of a split with each exported model and writes `predictions.parquet`.

    Args:
        config: config of the run.
        labelled: output of the label job.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        features: categorical and numeric features to write beside the predictions.
        split: `train` or `eval`.

    Returns:
        A row per click with `user_id`, `timestamp`, `click_id`, `path_length`, `mature`, the labels, the features, and
        `cvr_<name>` of each model.

    Raises:
        MalTfError: the split has no mature clicks, lacks a label of the config's mechanisms, or has no feature of a model.
    """
    if not labelled.splits[split].rows:
        raise MalTfError(
            f"{labelled.directory}: expected clicks in the {split} split, found none; choose another split, or label more days"
        )
    labels = [f"label_{name}" for name in config.attribution.names]
    columns = sorted({"user_id", "timestamp", "click_id", "path_length", "mature", *labels, *features})
    exports = Exports(versions)
    clicks = labelled.clicks(split)
    clicks.check_exports(exports)
    frame = pa.concat_tables(clicks.score(exports, columns, config.evaluation.batch_size)).to_pandas()
    frame = frame[frame["mature"] == 1]
    if frame.empty:
        raise MalTfError(
            f"{labelled.directory}, {split} split: expected mature clicks to evaluate, found none; label more days"
        )
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer)
    files.write_bytes(f"{output}/{PREDICTIONS}", buffer.getvalue().to_pybytes())
    return frame


def check_finite(predictions: np.ndarray, model: str, place: str) -> np.ndarray:
    """Checks that predictions are finite and returns them.

    Args:
        predictions: float [clicks].
        model: name of the model, for the error message.
        place: file or directory of the clicks, for the error message.

    Raises:
        MalTfError: a prediction is infinite or not a number.
    """
    if not (finite := np.isfinite(predictions)).all():
        raise MalTfError(
            f"model '{model}': a prediction for {place} is {predictions[~finite][0]}, expected a finite number"
        )
    return predictions


def extra_positives(user_id: pd.Series, past: LabelledClicks, growth: GrowthConfig) -> np.ndarray:
    """Counts how many more positives the wider mechanism gave each click's user in the past than the narrower one.

    Args:
        user_id: string [clicks].
        past: earlier clicks, of which the last `growth.segments` segments are counted.
        growth: mechanisms and number of segments.

    Returns:
        int64 [clicks]; 0 for users without clicks in these segments. Immature clicks are not counted.
    """
    wider, narrower = f"label_{growth.wider}", f"label_{growth.narrower}"
    parts = []
    for clicks in past.last(growth.segments).read(["user_id", "mature", wider, narrower]):
        positive = [(clicks[name].to_numpy() > 0).astype(np.int64) for name in (wider, narrower)]
        extra = (clicks["mature"].to_numpy() == 1) * np.subtract(*positive)
        nonzero = np.flatnonzero(extra)
        parts.append(pd.Series(extra[nonzero], clicks["user_id"].take(pa.array(nonzero)).to_numpy()))
    by_user = pd.concat(parts).groupby(level=0).sum()
    return user_id.map(by_user).fillna(0).to_numpy(np.int64)


def add_slice_columns(
    frame: pd.DataFrame, slices: Sequence[str], config: RunConfig, past: LabelledClicks | None, trained: Labelled
) -> pd.DataFrame:
    """Adds the columns of slices that are not columns of the labelled clicks.

    - `information_gain`: see `extra_positives`; left out if there are no earlier clicks.
    - `click_age`: days from the click until the labels of its split were final, that is until the longest window of the
      newest mature click ended. The youngest clicks have the newest users and ads; the oldest are closest to training.
    - `user_history`: `known` if the user has clicks in the training split, else `new`.
    - `known_<feature>`: `known` if the training vocabulary contains the feature's token, else `new`, which tells new ads by
      their id. Empty if the token is missing.

    Args:
        frame: clicks as returned by `score`, with the features of `slices`.
        slices: names from `EvaluationConfig.resolve_slices`.
        config: config of the run.
        past: earlier clicks; None if there are none.
        trained: output of the label job that the models were trained on.

    Returns:
        A copy of `frame` with these columns.
    """
    added = {}
    if INFORMATION_GAIN in slices and past is not None and past.segments:
        added[INFORMATION_GAIN] = extra_positives(frame["user_id"], past, config.evaluation.growth)
    if CLICK_AGE in slices:
        since = (frame["timestamp"].max() - frame["timestamp"]) / config.sources.tables().units_per_second
        added[CLICK_AGE] = click_age(since, config.attribution.longest_window_hours)
    if USER_HISTORY in slices:
        added[USER_HISTORY] = known_or_new(frame["user_id"].isin(_users(trained.clicks("train"))))
    for feature in slice_features([by for by in slices if by.startswith(KNOWN_PREFIX)], config.feature_spec):
        added[KNOWN_PREFIX + feature] = token_known(frame[feature], trained.vocabularies[feature])
    return frame.assign(**added)


def click_age(seconds: pd.Series, window_hours: float) -> np.ndarray:
    """Returns the age of clicks in days, float64 [clicks].

    Args:
        seconds: how much older each click is than the newest one.
        window_hours: longest attribution window; see `add_slice_columns`.
    """
    return ((seconds + window_hours * SECONDS_PER_HOUR) / SECONDS_PER_DAY).to_numpy(np.float64)


def token_known(tokens: pd.Series, vocabulary: Sequence[str]) -> np.ndarray:
    """Returns `known`, `new` or, for a missing token, an empty string for each click; see `add_slice_columns`."""
    status = known_or_new(tokens.isin(pd.Series(vocabulary, dtype=str).astype(tokens.dtype)))
    return np.where(tokens.isin(list(MISSING.values())), MISSING["string"], status)


def known_or_new(known: pd.Series) -> np.ndarray:
    """Maps true to `known` and false to `new`."""
    return np.where(known, "known", "new")


def _users(clicks: LabelledClicks) -> list[str]:
    """Lists the distinct users of the clicks."""
    users: set[str] = set()
    for batch in clicks.read(["user_id"]):
        users.update(batch["user_id"].unique().to_pylist())
    return list(users)
