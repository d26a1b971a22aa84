"""The configuration of scheduled retraining: one YAML file beside the run's."""

import datetime
import math
from collections.abc import Sequence
from typing import Literal

import pydantic

from features.errors import MalTfError
from features.frozen import Path
from pipelines.config.run import RunConfig
from pipelines.core import files
from pipelines.core.config_file import ConfigFile
from pipelines.retrain.checks import ChecksConfig
from pipelines.retrain.history import MetadataConfig
from pipelines.retrain.infra import InfraConfig
from pipelines.retrain.judge import GatesConfig

#: Value of `RetrainConfig.immature`.
DELAYED = "delayed_feedback"


class RetrainConfig(ConfigFile):
    """Everything about a schedule.

    Attributes:
        name: of the schedule.
        run: the run's YAML file, relative to this one; `{date}` in the paths of its sources stands for a day, such as
            2025-05-20. Its `labels` may only say `shards` and `max_bad_share`, and `eval_from`, which is not used.
        overrides: `key=value`, of the run's keys.
        root: directory of all that retraining writes, relative to this file; local.
        first_day: of the logs, UTC.
        immature: what becomes of clicks whose window has not closed: `wait` until it has; `mark` them, which writes them
            with `mature = 0`, so that the checks see the newest day, and trains as `wait` does; or `delayed_feedback`, which
            trains on the newest day as known at its end, and again when its labels are final
            (`pipelines.retrain.feedback`).
        judge_users: with delayed feedback, the share of users whose clicks train when final alone, so that models can be
            judged on clicks that they have not seen (`mal_tf.training.delayed_feedback.waits`).
        context_days: days of logs read before the first that trains, for journeys and histories; by default the longest
            window's.
        fit_age_days: data-driven attribution is fitted anew when the fit is older than this.
        missing_days: days without logs, known and accepted; clicks whose window reaches into one neither train nor judge.
        after_refusal: what becomes of the days that a refused candidate trained on: the next one goes on without them
            (`skip`) or trains on them again (`retry`).
        checks: of the data, before training.
        gates: what a candidate must hold.
        infra: what an export must hold.
        keep_versions: how many versions stay in `serving`.
        metadata: where the history is.
    """

    run: Path
    overrides: tuple[str, ...] = ()
    root: Path
    first_day: datetime.date
    immature: Literal["wait", "mark", "delayed_feedback"] = "wait"
    judge_users: float = pydantic.Field(0.2, ge=0.01, le=0.5)
    context_days: int | None = pydantic.Field(None, ge=0)
    fit_age_days: int = pydantic.Field(7, ge=1)
    missing_days: tuple[datetime.date, ...] = ()
    after_refusal: Literal["skip", "retry"] = "skip"
    checks: ChecksConfig = ChecksConfig()
    gates: GatesConfig
    infra: InfraConfig = InfraConfig()
    keep_versions: int = pydantic.Field(5, ge=2)
    metadata: MetadataConfig = MetadataConfig()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _is_a_schedule(cls, data):
        if isinstance(data, dict) and "sources" in data and not {"run", "root"} & data.keys():
            raise ValueError("expected a retraining schedule, whose `run` names a run's config; found a run's config")
        return data


def load(path: str, overrides: Sequence[str] = ()) -> tuple[RetrainConfig, RunConfig]:
    """Reads a schedule's file and the run's that it names.

    Raises:
        MalTfError: what is wrong, with the place of each key.
    """
    config = RetrainConfig.load(path, overrides)
    if not files.is_local(config.root):
        raise MalTfError(f"{path}: root: {config.root}: expected a local directory")
    run = RunConfig.load(config.run, config.overrides)
    if run.ready_made:
        raise MalTfError(
            f"{config.run}: adapter '{run.sources.adapter}' has ready-made labels and no days to retrain for"
        )
    spec = run.feature_spec
    config.gates.slices.features(spec)
    for key in ("drift", "skew"):
        getattr(config.checks, key).check(spec, f"checks.{key}")
    if config.immature == DELAYED:
        _check_delayed(config, run)
    return config, run


def _check_delayed(config: RetrainConfig, run: RunConfig) -> None:
    if run.training.loss != "soft":
        raise MalTfError(
            f"immature: {DELAYED} weights losses of expected credits: expected training.loss soft, found {run.training.loss}; "
            "add training.loss=soft to overrides"
        )
    if run.calibration:
        raise MalTfError(
            f"calibration: expected none with immature: {DELAYED}, whose days have all been trained on before they could fit a "
            "map; leave one of the two out"
        )
    window = run.attribution.longest_window_hours
    if window < 24:
        raise MalTfError(
            f"immature: {DELAYED}: expected a window of at least 24 hours, found {window:g}: shorter ones close "
            "before the day ends, so there is little to gain; use wait"
        )
    least = math.ceil(window / 24) + 2
    if run.attribution.data_driven and config.fit_age_days < least:
        raise MalTfError(
            f"fit_age_days: expected at least {least} with immature: {DELAYED}, found {config.fit_age_days}: the delay is "
            "measured on days that the same fit labels at their end and when their windows have closed"
        )


def context_days(config: RetrainConfig, run: RunConfig) -> int:
    """Days of logs before the first that trains."""
    return math.ceil(run.attribution.longest_window_hours / 24) if config.context_days is None else config.context_days
