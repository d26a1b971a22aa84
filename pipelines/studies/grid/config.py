"""The configuration of a grid, one YAML file."""

from typing import Annotated

import pydantic

from features.frozen import NOT_EMPTY, Path
from pipelines.studies.comparison.config import BenchmarkConfig, Comparisons, TruthConfig
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.run import CONFIG

#: Names become directories.
_NAME = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]


class GridConfig(Comparisons):
    """The same comparison on many simulated markets, each with its truth.

    Attributes:
        market: config file of the market that all are changes of.
        markets: for each market its overrides of the market's keys, each `key=value` as for `--set`, by name and in groups. Each
            group is a panel of the figure.
    """

    market: Path
    markets: Annotated[dict[_NAME, Annotated[dict[_NAME, tuple[str, ...]], NOT_EMPTY]], NOT_EMPTY]

    def simulated(self) -> dict[tuple[str, str], MarketConfig]:
        """Reads the config of each market, by group and name.

        Raises:
            MalTfError: the file is missing, or has invalid values with the overrides of a market.
        """
        return {
            (group, name): MarketConfig.load(self.market, overrides)
            for group, markets in self.markets.items()
            for name, overrides in markets.items()
        }

    def benchmark(self, logs: str) -> BenchmarkConfig:
        """Returns the comparison on a market that was simulated to `logs`."""
        common = {name: getattr(self, name) for name in Comparisons.model_fields}
        return BenchmarkConfig(
            **common,
            run=f"{logs}/{CONFIG}",
            truth=TruthConfig(files=f"{logs}/truth-clicks-*.parquet"),
        )
