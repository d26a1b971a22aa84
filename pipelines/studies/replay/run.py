"""A whole replay: clicks and truth, predictions, auctions in both designs, chance alone, results."""

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
from pipelines.core.provenance import provenance
from pipelines.evaluate import results
from pipelines.studies.replay import designs, intervals
from pipelines.studies.replay.auction import MICROS, Played, competing, uniform
from pipelines.studies.replay.config import ReplayConfig
from pipelines.studies.replay.designs import Design, Market
from pipelines.studies.replay.intervals import MEASURES
from pipelines.studies.replay.opportunities import opportunities, rates, versions

RESULTS = "results.json"

#: Every arm plays all users; each arm plays its own.
PAIRED, SPLIT = "paired", "split"

log = logging.getLogger("mal_tf.replay")


def run(config: ReplayConfig, run_config: RunConfig, directory: str) -> dict[str, Any]:
    """Plays the auctions; writes `results.json`, which holds what is returned.

    Args:
        config: the replay.
        run_config: of the run whose evaluation clicks are on sale.
        directory: of the outputs.

    Returns:
        `config`; `clicks`, what was on sale; `models`, the SavedModels of each arm; `designs`, see `_Replay.design`;
        `chance`, see `_Replay.chance`; `made_by`. None for what is not defined, as where an arm plays no counted click.

    Raises:
        MalTfError: a model, a click's value or its truth is missing, or the warm-up takes all days.
    """
    models = {arm.name: versions(arm) for arm in config.arms}
    data = labelled.load(f"{config.run}/labels", run_config.feature_spec)
    units = run_config.sources.tables().units_per_second
    clicks = opportunities(config, data, units)
    noise = uniform(config.seed, "price", clicks.click_id)
    price = competing(clicks.value, clicks.orders, clicks.industry, noise, config.prices)
    on = designs.market(clicks, price, config.budget, config.pacing)
    days = on.budget.shape[1]
    if config.warm_up_days >= days:
        raise MalTfError(f"warm_up_days: {config.warm_up_days} of {days} days leave none to count")
    of_arms = [rates(arm, clicks, data) for arm in config.arms]
    replay = _Replay(config, on)
    trainings = [np.array([of[n % len(of)] for of in of_arms]) for n in range(config.replays)]
    arms = len(config.arms)
    found = {
        PAIRED: replay.design(designs.paired(on, arms), trainings),
        SPLIT: replay.design(designs.split(on, arms, config.seed, "of the arms"), trainings),
    }
    result = {
        "config": config.model_dump(mode="json"),
        "clicks": {
            "clicks": clicks.user.size,
            "counted": int((clicks.second >= config.warm_up_days * SECONDS_PER_DAY).sum()),
            "users": clicks.users.size,
            "advertisers": on.budget.shape[0],
            "days": days,
            "orders": float(clicks.orders.sum()),
            "price": float(price.mean() / MICROS),
        },
        "models": models,
        "designs": found,
        "chance": replay.chance(trainings[0][0]),
        "made_by": provenance(),
    }
    return results.write(f"{directory}/{RESULTS}", result)


class _Replay:
    """Designs played on one market, and what they brought."""

    def __init__(self, config: ReplayConfig, on: Market):
        self._config, self._on = config, on
        self._hashed = stable_hash(pa.array(on.clicks.users, pa.string()))
        self._arms = [arm.name for arm in config.arms]

    def design(self, design: Design, trainings: list[np.ndarray]) -> dict[str, Any]:
        """Plays a design once per training of the models.

        Returns:
            By arm, of the counted days, means over trainings: `users`, `clicks` on sale, `bought`; `spent`, the share of the
            budgets; `most_spent`, the largest share of any account's on any day, the warm-up included; `pace`, the mean
            multiplier that clicks on sale met; `industries`, see `intervals.described`.
        """
        config, on = self._config, self._on
        began = time.perf_counter()
        played = [designs.run(on, design, of_arms) for of_arms in trainings]
        seconds = time.perf_counter() - began
        log.info("%s auctions/s", f"{len(trainings) * design.click.size / seconds:,.0f}")
        found = self._measures(design, [one for one, _ in played])
        described = intervals.described(found, config.base, self._arms, on.clicks.industries)
        counted = self._counted(design)
        slot = on.clicks.second[design.click] // (60 * on.pacing.slot_minutes)
        account = design.arm * on.budget.shape[0] + on.clicks.advertiser[design.click]
        result = {}
        for number, name in enumerate(self._arms):
            ours = counted & (design.arm == number)
            accounts = slice(number * on.budget.shape[0], (number + 1) * on.budget.shape[0])
            budgets, spent = (
                np.array([part[accounts] for part in parts])
                for parts in ([budget for _, budget in played], [one.spent for one, _ in played])
            )
            result[name] = {
                "users": int(design.member[number].sum()),
                "clicks": int(ours.sum()),
                "bought": float(np.mean([one.bought[ours].sum() for one, _ in played])),
                "spent": float(spent[:, :, config.warm_up_days :].sum() / budgets[:, :, config.warm_up_days :].sum()),
                "most_spent": float((spent / np.maximum(budgets, 1)).max()),
                "pace": float(np.mean([one.pace[slot[ours], account[ours]].mean() for one, _ in played]))
                if ours.any()
                else None,
                "industries": described[name],
            }
        return result

    def chance(self, rate: np.ndarray) -> dict[str, Any]:
        """Splits in which all arms bid the same: how often intervals of the difference cover 0, and how far it strays.

        Args:
            rate: float64 [N], what all arms take the clicks' conversion rates to be.

        Returns:
            `splits`, `intervals`; by measure `covered`, the share of the intervals that cover 0, and `deviation`, the standard
            deviation of the differences.
        """
        config, arms = self._config, len(self._arms)
        inside: dict[str, list] = {name: [] for name in MEASURES}
        strayed: dict[str, list] = {name: [] for name in MEASURES}
        for number in range(config.aa_splits):
            design = designs.split(self._on, arms, config.seed, f"by chance {number}")
            played, _ = designs.run(self._on, design, np.tile(rate, (arms, 1)))
            for name, values in self._measures(design, [played]).items():
                lift = np.delete(lifts(values, config.base)[:, :, 0], config.base, axis=1)
                lift = lift[:, ~np.isnan(lift[0])]
                if not lift.size:
                    continue
                low, high = interval(lift[1:])
                inside[name] += ((low <= 0) & (high >= 0)).tolist()
                strayed[name] += lift[0].tolist()
        return {
            "splits": config.aa_splits,
            "intervals": config.aa_splits * (arms - 1),
            "covered": {name: float(np.mean(found)) if found else None for name, found in inside.items()},
            "deviation": {name: float(np.std(found)) if found else None for name, found in strayed.items()},
        }

    def _measures(self, design: Design, played: list[Played]) -> dict[str, np.ndarray]:
        """See `intervals.measures`."""
        config, on, counted = self._config, self._on, self._counted(design)
        arms, industries = len(self._arms), len(on.clicks.industries)
        which, training = zip(
            *((rows := np.flatnonzero(one.bought & counted), np.full(rows.size, n)) for n, one in enumerate(played)),
            strict=True,
        )
        rows, training = np.concatenate(which), np.concatenate(training)
        click = design.click[rows]
        orders = on.clicks.orders[click]
        column = (training * arms + design.arm[rows]) * industries + on.clicks.industry[click]
        values = np.array([orders * on.clicks.value[click], orders, on.price[click] / MICROS])
        matrix = intervals.amounts(
            on.clicks.user[click], column, values, design.member, len(played) * arms * industries
        )
        found = intervals.totals(matrix, self._hashed, config.samples, config.seed)
        return intervals.measures(found, len(played), arms, industries, config.seed)

    def _counted(self, design: Design) -> np.ndarray:
        """Whether each play is after the warm-up: bool [K]."""
        return self._on.clicks.second[design.click] >= self._config.warm_up_days * SECONDS_PER_DAY
