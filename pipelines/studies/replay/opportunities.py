"""The clicks on sale in a replay, with their true value, and the conversion rates that each arm predicts for them."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import MalTfError
from features.time_units import SECONDS_PER_DAY
from mal_tf.serving import OUTPUT
from mal_tf.serving.exports import Exports
from pipelines.clicks.labelled import Labelled, LabelledClicks
from pipelines.clicks.predict import find_saved_model
from pipelines.studies.comparison.clicks import with_truth
from pipelines.studies.comparison.config import TruthConfig
from pipelines.studies.replay.config import Arm, ReplayConfig


@dataclasses.dataclass(frozen=True)
class Opportunities:
    """N mature clicks of U users, sorted by time and click id.

    Attributes:
        position: int64 [N], position in the files of the evaluation split.
        click_id: object [N], ids as text.
        user: int64 [N], index into `users`.
        users: object [U], sorted ids.
        second: int64 [N], seconds since midnight UTC before the first click.
        advertiser: int64 [N], codes in the order of the names.
        industry: int64 [N], index into `industries`.
        industries: sorted names of industries.
        value: float64 [N], value of an order of the click's product.
        orders: float64 [N], number of orders that the click causes if it is bought.
        truth: float64 [N] by column, true rates for the arms that bid with them.
    """

    position: np.ndarray
    click_id: np.ndarray
    user: np.ndarray
    users: np.ndarray
    second: np.ndarray
    advertiser: np.ndarray
    industry: np.ndarray
    industries: tuple[str, ...]
    value: np.ndarray
    orders: np.ndarray
    truth: dict[str, np.ndarray]


def opportunities(config: ReplayConfig, labelled: Labelled, units: int) -> Opportunities:
    """Reads the mature clicks of the evaluation split and the truth about them.

    Args:
        config: config of the replay.
        labelled: output of the run's label job.
        units: time units of the logs in a second.

    Raises:
        MalTfError: no click is mature, or a click lacks a value or a truth.
    """
    features = (config.advertiser, config.industry, config.value)
    frame = labelled.clicks("eval").frame(["click_id", "user_id", "timestamp", "mature", *features])
    frame["position"] = np.arange(len(frame))
    frame = frame[frame["mature"] == 1].sort_values(["timestamp", "click_id"], ignore_index=True)
    if frame.empty:
        raise MalTfError(f"{labelled.directory}: expected mature clicks in the evaluation split, found none")
    if missing := int(frame[config.value].isna().sum()):
        raise MalTfError(
            f"value: {missing:,} of {len(frame):,} clicks have no '{config.value}', which bids and prices need"
        )
    oracles = tuple(dict.fromkeys(arm.truth for arm in config.arms if arm.truth and arm.truth != config.orders))
    frame = with_truth(frame, TruthConfig(files=config.truth, caused=config.orders, oracles=oracles))
    user, users = pd.factorize(frame["user_id"], sort=True)
    industry, industries = pd.factorize(frame[config.industry], sort=True)
    second = frame["timestamp"].to_numpy() // units
    return Opportunities(
        position=frame["position"].to_numpy(),
        click_id=frame["click_id"].astype(str).to_numpy(object),
        user=user.astype(np.int64),
        users=users.to_numpy(object),
        second=second - second[0] // SECONDS_PER_DAY * SECONDS_PER_DAY,
        advertiser=pd.factorize(frame[config.advertiser], sort=True)[0].astype(np.int64),
        industry=industry.astype(np.int64),
        industries=tuple(map(str, industries)),
        value=frame[config.value].to_numpy(np.float64),
        orders=frame[config.orders].to_numpy(np.float64),
        truth={name: frame[name].to_numpy(np.float64) for name in (config.orders, *oracles)},
    )


def rates(arm: Arm, clicks: Opportunities, labelled: Labelled) -> list[np.ndarray]:
    """Returns the conversion rates that an arm predicts for the clicks, float64 [N], once per training of a model."""
    if arm.truth:
        return [clicks.truth[arm.truth]]
    if arm.constant is not None:
        return [np.full(clicks.position.size, arm.constant)]
    return [_scores(directory, labelled.clicks("eval"))[clicks.position] for directory in versions(arm)]


def versions(arm: Arm) -> list[str]:
    """Finds the SavedModel of each training of an arm.

    Raises:
        MalTfError: a directory holds no SavedModel.
    """
    directories = []
    for directory in arm.models:
        exports = pathlib.Path(directory, "serving", arm.model or arm.name)
        directories.append(find_saved_model(str(exports) if exports.is_dir() else directory))
    return directories


def _scores(directory: str, clicks: LabelledClicks) -> np.ndarray:
    """Predicts all clicks of a split in their order with an exported model, float64 [clicks]."""
    scored = pa.concat_tables(clicks.score(Exports({"arm": directory})))
    return scored[f"{OUTPUT}_arm"].to_numpy().astype(np.float64)
