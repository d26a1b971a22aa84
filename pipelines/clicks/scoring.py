"""Labelled clicks as they are evaluated: read, scored by exported models, and what is known of their users and ads."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import MalTfError
from features.keras2 import tf
from features.parsing import MISSING
from mal_tf.attribution.config import AttributionConfig
from mal_tf.serving.export import OUTPUT
from mal_tf.serving.inputs import check_features
from mal_tf.training.dataset import serialized
from pipelines.clicks.labelled import Labelled
from pipelines.config.evaluation import CLICK_AGE, INFORMATION_GAIN, KNOWN, USER_HISTORY, GrowthConfig, features_of
from pipelines.config.run import RunConfig
from pipelines.core import files

PREDICTIONS = "predictions.parquet"

#: Clicks parsed at a time.
_BATCH = 8192

_DAY_SECONDS = 24 * 3600


def read(segments: Sequence[Sequence[str]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Columns of labelled clicks, one value per click, in the files' order as `mal_tf.training.dataset` has it.

    Args:
        segments: files of each segment.
        columns: dtype by name.
    """
    columns_read = parsing(columns)
    parts = [
        pd.DataFrame({name: value.numpy() for name, value in tf.io.parse_example(examples, columns_read).items()})
        for examples in serialized(segments, _BATCH)
    ]
    return _decoded(parts, columns)


def click_id_dtype(segments: Sequence[Sequence[str]]) -> str:
    """Whether click ids are `string` or `int64`, as the first click has its own."""
    return "int64" if _first(segments)["click_id"].WhichOneof("kind") == "int64_list" else "string"


def _first(segments: Sequence[Sequence[str]]) -> Mapping:
    """Features of the first click."""
    for examples in serialized(segments, 1):
        return tf.train.Example.FromString(examples.numpy()[0]).features.feature
    raise MalTfError("expected labelled clicks, found none in the split; choose another, or label more days")


def parsing(columns: Mapping[str, str], missing: bool = True) -> dict[str, tf.io.FixedLenFeature]:
    """How to parse columns; without `missing`, a click that lacks one is an error."""
    return {
        name: tf.io.FixedLenFeature([], tf.as_dtype(kind), MISSING[kind] if missing else None)
        for name, kind in columns.items()
    }


def _decoded(parts: Sequence[pd.DataFrame], columns: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({name: [] for name in columns})
    for name, kind in columns.items():
        if kind == "string":
            frame[name] = frame[name].str.decode("utf-8")
    return frame


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
    segments, spec = labelled.splits[split].segments, config.feature_spec
    labels = [f"label_{name}" for name in config.attribution.names]
    if absent := [name for name in labels if name not in _first(segments)]:
        there = ", ".join(name for name in sorted(_first(segments)) if name.startswith("label_"))
        raise MalTfError(
            f"{labelled.directory}: expected {absent[0]} as the config's attribution has it; found: {there}"
        )
    wanted = {"user_id": "string", "timestamp": "int64", "click_id": click_id_dtype(segments)}
    wanted |= {"path_length": "int64", "mature": "int64"} | dict.fromkeys(labels, "float32")
    sliced = {name: spec.dtype(spec.scalar(name)) for name in features}
    columns_read = parsing(wanted, missing=False) | parsing(sliced)
    models = {name: tf.saved_model.load(version) for name, version in versions.items()}
    for name, model in models.items():
        check_features(model, [feature.name for feature in spec.features], f"model '{name}'", labelled.directory)
    parts = []
    for examples in serialized(segments, config.evaluation.batch_size):
        columns = {name: value.numpy() for name, value in tf.io.parse_example(examples, columns_read).items()}
        for name, model in models.items():
            columns[f"{OUTPUT}_{name}"] = model.signatures["serving_default"](examples=examples)[OUTPUT].numpy()
        parts.append(pd.DataFrame(columns))
    frame = _decoded(parts, wanted | sliced)
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


def extra_positives(user_id: pd.Series, past: Sequence[Sequence[str]], growth: GrowthConfig) -> np.ndarray:
    """How many more positives the wider mechanism gave each click's user than the narrower one, before the clicks.

    Args:
        user_id: string [clicks].
        past: segments before the clicks; the last `growth.segments` of them, the trailing window, are counted.
        growth: mechanisms and window.

    Returns:
        int64 [clicks]; 0 for users without clicks in the window. Immature clicks count for nothing.
    """
    wider, narrower = f"label_{growth.wider}", f"label_{growth.narrower}"
    wanted = parsing({"user_id": "string", "mature": "int64", wider: "float32", narrower: "float32"})
    parts = [pd.Series(dtype=np.int64)]
    for examples in serialized(past[-growth.segments :], _BATCH):
        clicks = {name: value.numpy() for name, value in tf.io.parse_example(examples, wanted).items()}
        extra = (clicks["mature"] == 1) * ((clicks[wider] > 0).astype(np.int64) - (clicks[narrower] > 0))
        chosen = np.flatnonzero(extra)
        parts.append(pd.Series(extra[chosen], clicks["user_id"][chosen]))
    of_user = pd.concat(parts).groupby(level=0).sum()
    of_user.index = of_user.index.astype(object).str.decode("utf-8")
    return user_id.map(of_user).fillna(0).to_numpy(np.int64)


def with_slices(
    frame: pd.DataFrame, slices: Sequence[str], config: RunConfig, past: Sequence[Sequence[str]], trained: Labelled
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
        past: segments before the clicks.
        trained: the label job that the models were trained on.
    """
    added = {}
    if INFORMATION_GAIN in slices and past:
        added[INFORMATION_GAIN] = extra_positives(frame["user_id"], past, config.evaluation.growth)
    if CLICK_AGE in slices:
        since = (frame["timestamp"].max() - frame["timestamp"]) / config.sources.tables().units_per_second
        added[CLICK_AGE] = click_age(since, longest_window(config.attribution))
    if USER_HISTORY in slices:
        added[USER_HISTORY] = said(frame["user_id"].isin(_users(trained.splits["train"].segments)))
    for feature in features_of([by for by in slices if by.startswith(KNOWN)], config.feature_spec):
        added[KNOWN + feature] = token_known(frame[feature], trained.vocabularies[feature])
    return frame.assign(**added)


def longest_window(attribution: AttributionConfig) -> float:
    """Hours until a click's labels are closed."""
    return max(one.window_hours or attribution.window_hours for one in attribution.mechanisms)


def click_age(seconds: pd.Series, window_hours: float) -> np.ndarray:
    """Days, float64 [clicks], of clicks that are so much older than the newest; see `with_slices`."""
    return ((seconds + window_hours * 3600) / _DAY_SECONDS).to_numpy(np.float64)


def token_known(tokens: pd.Series, vocabulary: Sequence[str]) -> np.ndarray:
    """Of each click, `known`, `new` or nothing; see `with_slices`."""
    known = said(tokens.isin(pd.Series(vocabulary, dtype=str).astype(tokens.dtype)))
    return np.where(tokens.isin(list(MISSING.values())), MISSING["string"], known)


def said(known: pd.Series) -> np.ndarray:
    """`known` or `new`."""
    return np.where(known, "known", "new")


def _users(segments: Sequence[Sequence[str]]) -> pd.Series:
    """The distinct users, string."""
    found: set[bytes] = set()
    for examples in serialized(segments, _BATCH):
        found.update(tf.io.parse_example(examples, parsing({"user_id": "string"}))["user_id"].numpy())
    return pd.Series(list(found), dtype=object).str.decode("utf-8")
