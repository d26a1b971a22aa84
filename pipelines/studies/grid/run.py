"""Running a grid from markets to results. It is resumable, as finished markets and trainings are not repeated."""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from features.errors import MalTfError
from pipelines.config.evaluation import GrowthConfig
from pipelines.core import files, locks, manifest
from pipelines.core.layout import BENCHMARK, GRID, RESULTS
from pipelines.labels.expected_gain import expected_gain
from pipelines.studies.comparison import run as comparison
from pipelines.studies.comparison import tasks
from pipelines.studies.comparison.config import run_config
from pipelines.studies.grid.config import GridConfig
from pipelines.studies.simulation import run as simulation
from pipelines.studies.simulation.config import MarketConfig

log = logging.getLogger("mal_tf.grid")


def run(
    config: GridConfig,
    directory: str,
    workers: int = 1,
    make: Callable[[int], contextlib.AbstractContextManager[Executor]] = tasks.workers,
) -> dict[str, Any]:
    """Simulates all markets that are not there yet, runs what is unfinished of each comparison, and writes `results.json`.

    Args:
        config: config of the grid.
        directory: local directory of all outputs: `<group>/<market>/logs` and `<group>/<market>/benchmark`.
        workers: number of processes that train in parallel.
        make: creates an executor with a number of workers.

    Returns:
        The content of `results.json`: `name`, `seeds`, `bootstrap_samples`, and `markets`. Each has its `group`, `name`, `labels`
        (see `label_facts`), and `comparisons` and `oracles` as in a comparison's results.

    Raises:
        MalTfError: a market, its run or a comparison can't be made of these keys; nothing is trained then.
    """
    simulated = config.simulated()
    markets = {f"{directory}/{group}/{name}": market for (group, name), market in simulated.items()}
    with locks.lock(directory):
        if files.exists(f"{directory}/{BENCHMARK}"):
            raise MalTfError(
                f"{directory}: expected a directory for a grid, found one of a comparison or replay; choose another output"
            )
        for place, market in markets.items():
            _simulate(market, f"{place}/logs")
        benchmarks = {place: config.benchmark(f"{place}/logs") for place in markets}
        runs = {place: run_config(benchmark, benchmark.run) for place, benchmark in benchmarks.items()}
        files.write_text(f"{directory}/{GRID}", config.model_dump_json(indent=1) + "\n")
        results = []
        for number, ((group, name), place) in enumerate(zip(simulated, markets, strict=True)):
            log.info("market %d of %d: %s, %s", number + 1, len(markets), group, name)
            done = comparison.run(benchmarks[place], runs[place], f"{place}/benchmark", workers, make)
            facts = label_facts(done["labels"], config.growth)
            kept = {key: done[key] for key in ("comparisons", "oracles")}
            results.append({"group": group, "name": name, "labels": facts, **kept})
        result = {
            "name": config.name,
            "seeds": list(config.seeds),
            "bootstrap_samples": config.bootstrap_samples,
            "markets": results,
        }
        text = json.dumps(result, indent=1)
        files.write_text(f"{directory}/{RESULTS}", text + "\n")
        return json.loads(text)


def _simulate(market: MarketConfig, logs: str) -> None:
    if not manifest.is_finished(logs, simulation.made_from(market)):
        log.info("simulating %s clicks: %s", f"{market.clicks:,}", logs)
        simulation.run(market, logs, overwrite=True)


def label_facts(report: Mapping[str, Any], growth: GrowthConfig) -> dict[str, Any]:
    """Returns what a label report says about how much auxiliary labels can add.

    Args:
        report: the label report.
        growth: mechanisms to compare.

    Returns:
        `clicks`, and `positives` under `growth.narrower`, of the training split; `growth`, the ratio of the positives under
        `growth.wider` to them, null if there are none; `longer_journeys`, the share of the attributed conversions with two or
        more touches, null if there are no conversions.

    Example:
        >>> mechanisms = {"last": {"positives": 100}, "linear": {"positives": 450}}
        >>> splits = {"train": {"clicks": 5000, "mechanisms": mechanisms}}
        >>> label_facts({"splits": splits, "path_lengths": {"1": 30, "2": 50, "3": 20}}, GrowthConfig())
        {'clicks': 5000, 'positives': 100, 'growth': 4.5, 'longer_journeys': 0.7}
    """
    found = expected_gain(report, growth.narrower, growth)
    return {name: getattr(found, name) for name in ("clicks", "positives", "growth", "longer_journeys")}
