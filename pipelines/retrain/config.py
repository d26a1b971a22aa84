"""The configuration of scheduled retraining, a YAML file in addition to the run's."""

import math
from collections.abc import Sequence
from typing import Literal

import pydantic

from features.errors import MalTfError
from features.frozen import Day, Days, Path
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
    """The configuration of a retraining schedule.

    Attributes:
        name: name of the schedule.
        run: the run's YAML file, relative to this one; `{date}` in the paths of its sources stands for a day, such as
            2025-05-20. Its `labels` may only set `shards` and `max_bad_share`, and `eval_from`, which is not used.
        overrides: overrides of the run's keys, each `key=value`.
        root: local directory of everything that retraining writes, relative to this file.
        first_day: first day of the logs, UTC.
        immature: what to do with clicks whose window has not closed. `wait` leaves them to a later span. `mark` writes them
            with `mature = 0`, so that the checks see the newest day, and trains as `wait` does. `delayed_feedback` trains on
            the newest day with the labels known at its end, and again when its labels are final
            (`pipelines.retrain.feedback`).
        judge_users: with delayed feedback, the share of users whose clicks train only when their labels are final, so that
            models can be judged on clicks that they were not trained on (`mal_tf.training.delayed_feedback.waits`).
        context_days: number of days of logs that are read before the first day that trains, for journeys and histories; by
            default the longest window.
        fit_age_days: data-driven attribution is fitted again when the fit is older than this number of days.
        missing_days: days known to have no logs. Clicks whose window reaches into one neither train nor judge.
        after_refusal: what to do with the days that a refused candidate trained on: the next candidate leaves them out
            (`skip`) or trains on them again (`retry`).
        checks: limits on the data, checked before training.
        gates: what a candidate must meet before it may serve.
        infra: how an export is checked before it may serve.
        keep_versions: number of versions that are kept in `serving`.
        metadata: where the history of retraining is stored.
    """

    run: Path
    overrides: tuple[str, ...] = ()
    root: Path
    first_day: Day
    immature: Literal["wait", "mark", "delayed_feedback"] = "wait"
    judge_users: float = pydantic.Field(0.2, ge=0.01, le=0.5)
    context_days: int | None = pydantic.Field(None, ge=0, le=36_500)
    fit_age_days: int = pydantic.Field(7, ge=1, le=36_500)
    missing_days: Days = ()
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
    """Read a schedule's config and the run's config that it names.

    Raises:
        MalTfError: a config is invalid; the message names each key and what is wrong with it.
    """
    config = RetrainConfig.load(path, overrides)
    if not files.is_local(config.root):
        raise MalTfError(f"{path}: root: expected a local directory, found {config.root}")
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
            f"calibration: expected none with immature: {DELAYED}, as all days have been trained on before they could fit a "
            "calibration map; remove one of the two"
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
    """Return the number of days of logs that are read before the first day that trains."""
    return math.ceil(run.attribution.longest_window_hours / 24) if config.context_days is None else config.context_days
