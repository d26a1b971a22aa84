"""Where the source is."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]


#: From the ground up: a floor imports itself and those before it.
FLOORS = ("features", "mal_tf", "pipelines")
