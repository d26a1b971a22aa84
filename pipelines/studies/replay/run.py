"""Running a replay, from clicks and predictions to auctions in both designs, A/A splits and results."""

import logging
import time
from typing import Any

import numpy as np
import pyarrow as pa

from features.arrays import stable_hash
from features.errors import MalTfError
from features.time_units import SECONDS_PER_DAY
from mal_tf.evaluation.judgement import interval, lifts
from pipelines.clicks import labelled
from pipelines.config.run import RunConfig
from pipelines.core.layout import RESULTS
from pipelines.core.provenance import provenance
from pipelines.evaluate import results
from pipelines.studies.replay import designs, intervals
from pipelines.studies.replay.auction import MICROS, Played, competing_bids, uniform
from pipelines.studies.replay.config import ReplayConfig
from pipelines.studies.replay.designs import Design, Market
from pipelines.studies.replay.intervals import MEASURES
from pipelines.studies.replay.opportunities import opportunities, rates, versions

#: Names of the designs, in which every arm plays all users, or each arm its own.
PAIRED, SPLIT = "paired", "split"

log = logging.getLogger("mal_tf.replay")


def run(config: ReplayConfig, run_config: RunConfig, directory: str) -> dict[str, Any]:
    """Plays the auctions of a replay and writes `results.json`.

    Args:
        config: config of the replay.
        run_config: config of the run whose evaluation clicks are on sale.
        directory: directory of the outputs.

    Returns:
        The content of `results.json`: `config`; `clicks`, counts of the clicks on sale; `models`, the SavedModels of each arm;
        `designs`, see `_Replay.design`; `chance`, see `_Replay.chance`; and `made_by`. Undefined values are None, for example
        if an arm plays no counted click.

    Raises:
        MalTfError: a model, a click's value or its truth is missing, or the warm-up takes all days.
    """
    models = {arm.name: versions(arm) for arm in config.arms}
    data = labelled.load(f"{config.run}/labels", run_config.feature_spec)
    units = run_config.sources.tables().units_per_second
    clicks = opportunities(config, data, units)
    noise = uniform(config.seed, "price", clicks.click_id)
    price = competing_bids(clicks.value, clicks.orders, clicks.industry, noise, config.prices)
    market = designs.market(clicks, price, config.budget, config.pacing)
    days = market.budget.shape[1]
    if config.warm_up_days >= days:
        raise MalTfError(f"warm_up_days: expected fewer than the {days} days of clicks, found {config.warm_up_days}")
    rates_by_arm = [rates(arm, clicks, data) for arm in config.arms]
    replay = _Replay(config, market)
    trainings = [np.array([arm[n % len(arm)] for arm in rates_by_arm]) for n in range(config.replays)]
    arms = len(config.arms)
    by_design = {
        PAIRED: replay.design(designs.paired(market, arms), trainings),
        SPLIT: replay.design(designs.split(market, arms, config.seed, "of the arms"), trainings),
    }
    result = {
        "config": config.model_dump(mode="json"),
        "clicks": {
            "clicks": clicks.user.size,
            "counted": int((clicks.second >= config.warm_up_days * SECONDS_PER_DAY).sum()),
            "users": clicks.users.size,
            "advertisers": market.budget.shape[0],
            "days": days,
            "orders": float(clicks.orders.sum()),
            "price": float(price.mean() / MICROS),
        },
        "models": models,
        "designs": by_design,
        "chance": replay.chance(trainings[0][0]),
        "made_by": provenance(),
    }
    return results.write(f"{directory}/{RESULTS}", result)


class _Replay:
    """Plays designs on a market and measures their results."""

    def __init__(self, config: ReplayConfig, market: Market):
        self._config, self._market = config, market
        self._hashed = stable_hash(pa.array(market.clicks.users, pa.string()))
        self._arms = [arm.name for arm in config.arms]

    def design(self, design: Design, trainings: list[np.ndarray]) -> dict[str, Any]:
        """Plays a design once per training of the models.

        Returns:
            By arm, means over trainings for the counted days: number of `users`, `clicks` on sale, and clicks `bought`;
            `spent`, the share of the budgets that was spent; `most_spent`, the largest such share of an account on a day,
            including the warm-up; `pace`, the mean multiplier over the clicks on sale; `industries`, see
            `intervals.summarize`.
        """
        config, market = self._config, self._market
        began = time.perf_counter()
        played = [designs.run(market, design, arm_rates) for arm_rates in trainings]
        seconds = time.perf_counter() - began
        log.info("%s auctions/s", f"{len(trainings) * design.click.size / seconds:,.0f}")
        measures = self._measures(design, [outcome for outcome, _ in played])
        summary = intervals.summarize(measures, config.base, self._arms, market.clicks.industries)
        counted = self._counted(design)
        slot = market.clicks.second[design.click] // (60 * market.pacing.slot_minutes)
        account = design.arm * market.budget.shape[0] + market.clicks.advertiser[design.click]
        result = {}
        for number, name in enumerate(self._arms):
            plays = counted & (design.arm == number)
            accounts = slice(number * market.budget.shape[0], (number + 1) * market.budget.shape[0])
            budgets, spent = (
                np.array([part[accounts] for part in parts])
                for parts in ([budget for _, budget in played], [outcome.spent for outcome, _ in played])
            )
            result[name] = {
                "users": int(design.member[number].sum()),
                "clicks": int(plays.sum()),
                "bought": float(np.mean([outcome.bought[plays].sum() for outcome, _ in played])),
                "spent": float(spent[:, :, config.warm_up_days :].sum() / budgets[:, :, config.warm_up_days :].sum()),
                "most_spent": float((spent / np.maximum(budgets, 1)).max()),
                "pace": float(np.mean([outcome.pace[slot[plays], account[plays]].mean() for outcome, _ in played]))
                if plays.any()
                else None,
                "industries": summary[name],
            }
        return result

    def chance(self, rate: np.ndarray) -> dict[str, Any]:
        """Plays A/A splits, in which all arms bid the same, to check the intervals of the differences.

        Args:
            rate: float64 [N], conversion rates that all arms predict.

        Returns:
            Numbers of `splits` and `intervals`; and by measure `covered`, the share of intervals that cover 0, and
            `deviation`, the standard deviation of the differences.
        """
        config, arms = self._config, len(self._arms)
        covered: dict[str, list] = {name: [] for name in MEASURES}
        differences: dict[str, list] = {name: [] for name in MEASURES}
        for number in range(config.aa_splits):
            design = designs.split(self._market, arms, config.seed, f"by chance {number}")
            played, _ = designs.run(self._market, design, np.tile(rate, (arms, 1)))
            for name, values in self._measures(design, [played]).items():
                lift = np.delete(lifts(values, config.base)[:, :, 0], config.base, axis=1)
                lift = lift[:, ~np.isnan(lift[0])]
                if not lift.size:
                    continue
                low, high = interval(lift[1:])
                covered[name] += ((low <= 0) & (high >= 0)).tolist()
                differences[name] += lift[0].tolist()
        return {
            "splits": config.aa_splits,
            "intervals": config.aa_splits * (arms - 1),
            "covered": {name: float(np.mean(values)) if values else None for name, values in covered.items()},
            "deviation": {name: float(np.std(values)) if values else None for name, values in differences.items()},
        }

    def _measures(self, design: Design, played: list[Played]) -> dict[str, np.ndarray]:
        """Computes `intervals.measures` of the counted purchases."""
        config, market, counted = self._config, self._market, self._counted(design)
        arms, industries = len(self._arms), len(market.clicks.industries)
        purchases, training = zip(
            *((rows := np.flatnonzero(one.bought & counted), np.full(rows.size, n)) for n, one in enumerate(played)),
            strict=True,
        )
        rows, training = np.concatenate(purchases), np.concatenate(training)
        click = design.click[rows]
        orders = market.clicks.orders[click]
        column = (training * arms + design.arm[rows]) * industries + market.clicks.industry[click]
        values = np.array([orders * market.clicks.value[click], orders, market.price[click] / MICROS])
        matrix = intervals.amounts(
            market.clicks.user[click], column, values, design.member, len(played) * arms * industries
        )
        sums = intervals.totals(matrix, self._hashed, config.samples, config.seed)
        return intervals.measures(sums, len(played), arms, industries, config.seed)

    def _counted(self, design: Design) -> np.ndarray:
        """Whether each play is after the warm-up, bool [K]."""
        return self._market.clicks.second[design.click] >= self._config.warm_up_days * SECONDS_PER_DAY
