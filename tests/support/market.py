"""The example's simulated market."""

import pathlib

MARKET = str(pathlib.Path(__file__).parents[2] / "examples" / "simulation" / "market.yaml")


WINDOW = 168 * 3600
