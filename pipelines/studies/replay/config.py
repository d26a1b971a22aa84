"""The configuration of an A/B replay, one YAML file. docs/replay.md has the formulas."""

import itertools
from collections.abc import Sequence
from typing import Annotated

import pydantic

from features.errors import MalTfError
from features.frozen import NAMES_DIFFER, Frozen, Path
from features.time_units import MINUTES_PER_DAY
from pipelines.config.run import RunConfig
from pipelines.core import files, stores
from pipelines.core.config_file import ConfigFile


class Arm(Frozen):
    """One bidder of the replay, given by exactly one of `models`, `truth` and `constant`.

    Attributes:
        name: name of the arm.
        models: trainings of one model, each a SavedModel, the directory of its versions (the newest is taken) or a run's
            directory. The replay is repeated with each; results are means over them.
        model: name of the model in a run's directory; by default the arm's name.
        truth: column of the market's truth about clicks that the arm bids by.
        constant: conversion rate that the arm bids by for all clicks.
    """

    name: str = pydantic.Field(min_length=1)
    models: tuple[Path, ...] = ()
    model: str = ""
    truth: str = ""
    constant: pydantic.PositiveFloat | None = None

    @pydantic.model_validator(mode="after")
    def _one_source(self):
        given = [name for name in ("models", "truth", "constant") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"arm '{self.name}': expected exactly one of models, truth and constant, found {' and '.join(given) or 'none'}"
            )
        return self


class Prices(Frozen):
    """The highest competing bid for a click: level · value · its industry's true rate · noise of mean 1, log-normal.

    Attributes:
        level: factor on the price; at 1 the mean price is the mean value of a click.
        spread: standard deviation of the noise's logarithm.
        reserve: lowest price of a click, in the unit of `value`.
    """

    level: float = pydantic.Field(1.0, gt=0)
    spread: float = pydantic.Field(0.7, ge=0)
    reserve: float = pydantic.Field(0.0, ge=0)


class Pacing(Frozen):
    """How bids follow budgets: after each slot the multiplier changes by exp(gain · (planned − wanted) / budget).

    Attributes:
        slot_minutes: length of a slot; a day has a whole number of them.
        gain: strength of the change.
        first: initial multiplier of each account.
        highest: upper limit of the multiplier.
    """

    slot_minutes: int = pydantic.Field(60, ge=1, le=MINUTES_PER_DAY)
    gain: float = pydantic.Field(2.0, ge=0)
    first: float = pydantic.Field(1.0, gt=0)
    highest: float = pydantic.Field(1.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _possible(self):
        if MINUTES_PER_DAY % self.slot_minutes:
            raise ValueError(
                f"slot_minutes: expected a divisor of a day's {MINUTES_PER_DAY} minutes, found {self.slot_minutes}"
            )
        if self.first > self.highest:
            raise ValueError(f"first: expected at most highest, {self.highest:g}, found {self.first:g}")
        return self

    @property
    def slots_per_day(self) -> int:
        """Number of slots in a day."""
        return MINUTES_PER_DAY // self.slot_minutes


class ReplayConfig(ConfigFile):
    """An A/B replay on one market's evaluation clicks.

    Attributes:
        name: name of the replay; its directory is `runs/<name>` unless the command line gives another.
        run: directory of the run whose evaluation split has the clicks for sale.
        truth: glob of the market's `truth-clicks` files.
        orders: column of the truth with the number of orders that a bought click causes.
        advertiser: categorical feature that identifies the advertiser, who bids and has a budget.
        industry: categorical feature by which results are split and whose rate prices follow.
        value: numeric feature with the value of an order of the click's product.
        arms: bidders to compare, at least two.
        against: reference arm of the comparison; by default the first.
        prices: prices of the competition.
        budget: daily budget of an advertiser, as a share of what all of its clicks of the day would cost.
        pacing: pacing of the budgets.
        warm_up_days: number of first days that are played for the pacing to settle, but not counted.
        samples: number of bootstrap resamples of the users, for the intervals.
        aa_splits: number of splits of the users in which all arms bid with the first arm's first model, so that any
            difference is chance.
        seed: seed of the competing bids, of the users' split and of the resamples.
    """

    run: Path
    truth: Path
    orders: str = "expected_credit"
    advertiser: str = "advertiser"
    industry: str = "industry"
    value: str = "price"
    arms: Annotated[tuple[Arm, ...], NAMES_DIFFER] = pydantic.Field(min_length=2)
    against: str = ""
    prices: Prices = Prices()
    budget: float = pydantic.Field(0.2, gt=0)
    pacing: Pacing = Pacing()
    warm_up_days: int = pydantic.Field(1, ge=0)
    samples: int = pydantic.Field(500, ge=1)
    aa_splits: int = pydantic.Field(20, ge=0)
    seed: int = pydantic.Field(17, ge=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self):
        for path in (self.run, *(path for arm in self.arms for path in arm.models)):
            stores.refuse(path, "run and arms.models", "copy that directory to this machine")
        names = [arm.name for arm in self.arms]
        if self.against and self.against not in names:
            raise ValueError(f"against: unknown arm '{self.against}'; available: {', '.join(names)}")
        counts = {arm.name: len(arm.models) for arm in self.arms if arm.models}
        for one, other in itertools.pairwise(counts):
            if counts[one] != counts[other]:
                raise ValueError(
                    f"arms: expected the same number of trainings of each model, found {counts[one]} of '{one}' and "
                    f"{counts[other]} of '{other}'"
                )
        return self

    @property
    def base(self) -> int:
        """Index of the arm that the others are compared with."""
        return [arm.name for arm in self.arms].index(self.against or self.arms[0].name)

    @property
    def replays(self) -> int:
        """Number of repetitions of the replay, one per training of each model."""
        return max([1, *(len(arm.models) for arm in self.arms)])


def load(path: str, overrides: Sequence[str] = ()) -> tuple[ReplayConfig, RunConfig]:
    """Reads the config of a replay and of its run; paths are relative to the file.

    Raises:
        MalTfError: a config is missing or invalid; the message names each key.
    """
    replay = ReplayConfig.load(path, overrides)
    if not files.exists(f"{replay.run}/config.yaml"):
        raise MalTfError(
            f"{path}: run: expected the directory of a run, found no {replay.run}/config.yaml; see docs/replay.md"
        )
    run = RunConfig.from_run(replay.run)
    if run.ready_made:
        raise MalTfError(f"{path}: run: expected a run on a simulated market, found ready-made labels in {replay.run}")
    spec = run.feature_spec
    for key, candidates in (("advertiser", spec.categorical), ("industry", spec.categorical), ("value", spec.numeric)):
        names = [feature.name for feature in candidates]
        if getattr(replay, key) not in names:
            raise MalTfError(
                f"{path}: {key}: '{getattr(replay, key)}' is not a feature of {replay.run} of the right type; available: "
                f"{', '.join(names)}"
            )
    return replay, run
