"""What had another name in earlier commits, so that `benchmarks.golden` finds it there.

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

#: Parts of the command lines, as they were and as they are, such as `model.compare_with=`. When a command fails on the
#: earlier commit, it is tried once more with all that has an earlier name under that name.
SETTINGS: Renames = ()


def today(name: str, renames: Renames) -> str:
    """Today's name of what an earlier commit calls `name`."""
    for earlier, now in renames:
        name = re.sub(earlier, now, name)
    return name


def earlier(argument: str, renames: Renames) -> str:
    """An argument of a command line as an earlier commit spells it."""
    for then, now in renames:
        argument = argument.replace(now, then)
    return argument
