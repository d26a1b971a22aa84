"""What is on sale: the evaluation split's clicks, what each is truly worth, and what each arm takes it to be worth."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import MalTfError
from features.time_units import SECONDS_PER_DAY
from mal_tf.serving.export import OUTPUT
from mal_tf.serving.exports import Exports
from pipelines.clicks.labelled import Labelled, LabelledClicks
from pipelines.clicks.predict import find_saved_model
from pipelines.studies.comparison.clicks import with_truth
from pipelines.studies.comparison.config import TruthConfig
from pipelines.studies.replay.config import Arm, ReplayConfig


@dataclasses.dataclass(frozen=True)
class Opportunities:
    """N mature clicks of U users, in the order of their times; equal times by click id.

    Attributes:
        position: int64 [N], place in the evaluation split's files.
        click_id: object [N], text.
        user: int64 [N], index into `users`.
        users: object [U], ids, sorted.
        second: int64 [N], seconds since the midnight, UTC, before the first click.
        advertiser: int64 [N], codes in the order of the names.
        industry: int64 [N], index into `industries`.
        industries: names, sorted.
        value: float64 [N], of an order of the click's product.
        orders: float64 [N], caused by the click if it is bought.
        truth: float64 [N] by column: what arms know who bid with what is true.
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
    """Reads the evaluation split's mature clicks and the truth about them.

    Args:
        config: the replay.
        labelled: the run's labels.
        units: of the logs' time, in a second.

    Raises:
        MalTfError: there is no mature click, one has no value, or the truth does not know it.
    """
    features = (config.advertiser, config.industry, config.value)
    frame = labelled.clicks("eval").frame(["click_id", "user_id", "timestamp", "mature", *features])
    frame["position"] = np.arange(len(frame))
    frame = frame[frame["mature"] == 1].sort_values(["timestamp", "click_id"], ignore_index=True)
    if frame.empty:
        raise MalTfError(f"{labelled.directory}: the evaluation split has no mature click to sell")
    if without := int(frame[config.value].isna().sum()):
        raise MalTfError(
            f"value: {without:,} of {len(frame):,} clicks have no '{config.value}', which bids and prices need"
        )
    asked = tuple(dict.fromkeys(arm.truth for arm in config.arms if arm.truth and arm.truth != config.orders))
    frame = with_truth(frame, TruthConfig(files=config.truth, caused=config.orders, oracles=asked))
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
        truth={name: frame[name].to_numpy(np.float64) for name in (config.orders, *asked)},
    )


def rates(arm: Arm, found: Opportunities, labelled: Labelled) -> list[np.ndarray]:
    """What an arm takes each click's conversion rate to be, float64 [N]: an entry per training, else one."""
    if arm.truth:
        return [found.truth[arm.truth]]
    if arm.constant is not None:
        return [np.full(found.position.size, arm.constant)]
    return [_scores(directory, labelled.clicks("eval"))[found.position] for directory in versions(arm)]


def versions(arm: Arm) -> list[str]:
    """Directory of the SavedModel of each of an arm's trainings.

    Raises:
        MalTfError: there is none.
    """
    found = []
    for directory in arm.models:
        of_run = pathlib.Path(directory, "serving", arm.model or arm.name)
        found.append(find_saved_model(str(of_run) if of_run.is_dir() else directory))
    return found


def _scores(directory: str, clicks: LabelledClicks) -> np.ndarray:
    """Predictions of an exported model for all clicks of a split, in their order: float64."""
    scored = pa.concat_tables(clicks.score(Exports({"arm": directory})))
    return scored[f"{OUTPUT}_arm"].to_numpy().astype(np.float64)
