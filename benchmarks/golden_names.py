"""Names that were different in earlier commits, so that `benchmarks.golden` finds files, weights, keys and settings there.

Each table has pairs of an earlier name and today's; a refactoring that renames something adds a line. The first three
have regular expressions, which are searched for in the earlier commit's names, and their replacements; names of today must
not match.
"""

import re
from collections.abc import Sequence

Renames = Sequence[tuple[str, str]]

#: Paths of files in a scenario's output, such as `run/train/mal/model.weights.h5`.
PATHS: Renames = ()

#: Names of weights, such as `layers/dense/vars/0`.
WEIGHTS: Renames = ()

#: Keys in JSON files, such as `models.mal.auc`.
KEYS: Renames = ()

#: Parts of command lines, such as `model.compare_with=`. When a command fails on the earlier commit, it is tried once more
#: with the earlier names.
SETTINGS: Renames = ()


def today(name: str, renames: Renames) -> str:
    """Return today's name of what an earlier commit calls `name`."""
    for earlier, now in renames:
        name = re.sub(earlier, now, name)
    return name


def earlier(argument: str, renames: Renames) -> str:
    """Return an argument of a command line as an earlier commit spells it."""
    for then, now in renames:
        argument = argument.replace(now, then)
    return argument
