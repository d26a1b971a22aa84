"""Labelled clicks as they are evaluated: scored by exported models, with what training knew of their users and ads."""

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
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, KNOWN, USER_HISTORY, GrowthConfig, features_of
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
    """Scores a split's mature clicks with each exported model; writes `predictions.parquet`.

    Args:
        config: the run.
        labelled: splits.
        versions: directory of the SavedModel by model name.
        output: directory to write to.
        features: categorical and numeric features to write beside the predictions.
        split: `train` or `eval`.

    Returns:
        `user_id`, `timestamp`, `click_id`, `path_length`, `mature`, labels, features, and `cvr_<name>` of each model.

    Raises:
        MalTfError: the split has no clicks, or lacks a label of the config's mechanisms or all features of a model.
    """
    if not labelled.splits[split].rows:
        raise MalTfError(
            f"{labelled.directory}: expected clicks in the {split} split, found none; choose another, or label more days"
        )
    labels = [f"label_{name}" for name in config.attribution.names]
    columns = sorted({"user_id", "timestamp", "click_id", "path_length", "mature", *labels, *features})
    exports = Exports(versions)
    clicks = labelled.clicks(split)
    clicks.check_exports(exports)
    frame = pa.concat_tables(clicks.score(exports, columns, config.evaluation.batch_size)).to_pandas()
    frame = frame[frame["mature"] == 1]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer)
    files.write_bytes(f"{output}/{PREDICTIONS}", buffer.getvalue().to_pybytes())
    return frame


def check_finite(predictions: np.ndarray, model: str, place: str) -> np.ndarray:
    """The predictions, float [clicks], of a model by its name, for the clicks of a file or directory.

    Raises:
        MalTfError: one is not a number.
    """
    if not (finite := np.isfinite(predictions)).all():
        raise MalTfError(f"model '{model}': a prediction for {place} is {predictions[~finite][0]}, not a number")
    return predictions


def extra_positives(user_id: pd.Series, past: LabelledClicks, growth: GrowthConfig) -> np.ndarray:
    """How many more positives the wider mechanism gave each click's user than the narrower one, before the clicks.

    Args:
        user_id: string [clicks].
        past: what is before the clicks; its last `growth.segments` segments, the trailing window, are counted.
        growth: mechanisms and window.

    Returns:
        int64 [clicks]; 0 for users without clicks in the window. Immature clicks count for nothing.
    """
    wider, narrower = f"label_{growth.wider}", f"label_{growth.narrower}"
    parts = []
    for clicks in past.last(growth.segments).read(["user_id", "mature", wider, narrower]):
        positive = [(clicks[name].to_numpy() > 0).astype(np.int64) for name in (wider, narrower)]
        extra = (clicks["mature"].to_numpy() == 1) * np.subtract(*positive)
        chosen = np.flatnonzero(extra)
        parts.append(pd.Series(extra[chosen], clicks["user_id"].take(pa.array(chosen)).to_numpy()))
    by_user = pd.concat(parts).groupby(level=0).sum()
    return user_id.map(by_user).fillna(0).to_numpy(np.int64)


def with_slices(
    frame: pd.DataFrame, slices: Sequence[str], config: RunConfig, past: LabelledClicks | None, trained: Labelled
) -> pd.DataFrame:
    """Adds the columns that slices are by and that no click has by itself.

    - `information_gain`: see `extra_positives`; not there if nothing is before the clicks;
    - `click_age`: days from the click until its split's labels were closed, which is when the newest mature click's longest
      window ended. The youngest clicks' users and ads are the newest; the eldest follow the training most closely;
    - `user_history`: `known` if the user has clicks in the training split, else `new`;
    - `known_<feature>`: `known` if the training vocabulary has the feature's token, else `new`: new ads, by their id; empty
      where the token is missing.

    Args:
        frame: as `score` returns it, with the features of `slices`.
        slices: of `EvaluationConfig.chosen`.
        config: the run.
        past: what is before the clicks; None without.
        trained: the label job that the models were trained on.
    """
    added = {}
    if INFORMATION_GAIN in slices and past is not None and past.segments:
        added[INFORMATION_GAIN] = extra_positives(frame["user_id"], past, config.evaluation.growth)
    if CLICK_AGE in slices:
        since = (frame["timestamp"].max() - frame["timestamp"]) / config.sources.tables().units_per_second
        added[CLICK_AGE] = click_age(since, config.attribution.longest_window_hours)
    if USER_HISTORY in slices:
        added[USER_HISTORY] = known_or_new(frame["user_id"].isin(_users(trained.clicks("train"))))
    for feature in features_of([by for by in slices if by.startswith(KNOWN)], config.feature_spec):
        added[KNOWN + feature] = token_known(frame[feature], trained.vocabularies[feature])
    return frame.assign(**added)


def click_age(seconds: pd.Series, window_hours: float) -> np.ndarray:
    """Days, float64 [clicks], of clicks that are so much older than the newest; see `with_slices`."""
    return ((seconds + window_hours * SECONDS_PER_HOUR) / SECONDS_PER_DAY).to_numpy(np.float64)


def token_known(tokens: pd.Series, vocabulary: Sequence[str]) -> np.ndarray:
    """Of each click, `known`, `new` or nothing; see `with_slices`."""
    known = known_or_new(tokens.isin(pd.Series(vocabulary, dtype=str).astype(tokens.dtype)))
    return np.where(tokens.isin(list(MISSING.values())), MISSING["string"], known)


def known_or_new(known: pd.Series) -> np.ndarray:
    """`known` or `new`."""
    return np.where(known, "known", "new")


def _users(clicks: LabelledClicks) -> list[str]:
    """The distinct users."""
    users: set[str] = set()
    for batch in clicks.read(["user_id"]):
        users.update(batch["user_id"].unique().to_pylist())
    return list(users)
