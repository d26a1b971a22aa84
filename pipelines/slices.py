"""Slices: parts of evaluated clicks, by the length of the path or by a feature's value."""

import dataclasses

import numpy as np
import pandas as pd

from features.parsing import MISSING

#: The slices that are no feature's.
PATH_LENGTH = "path_length"

#: Path lengths from here on are one slice.
_LONG = 4


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the clicks.

    Attributes:
        name: what it is a slice by, and which.
        chosen: bool [clicks].
    """

    name: str
    chosen: np.ndarray


def slice_by(values: pd.Series, label: np.ndarray, min_positives: int = 0) -> list[Slice]:
    """Slices of the clicks.

    Args:
        values: [clicks], `path_length` or a categorical feature, by its name.
        label: float [clicks]: path lengths are of its positives, with all negatives.
        min_positives: slices of fewer are left out.

    Returns:
        By path length, or the most frequent value first.
    """
    positive = label > 0
    if values.name == PATH_LENGTH:
        length = np.minimum(values.to_numpy(), _LONG)
        names = [f"{n} click{'s' if n > 1 else ''}" for n in range(1, _LONG)] + [f"{_LONG} or more"]
        found = [Slice(name, ~positive | (length == n)) for n, name in enumerate(names, 1)]
        return [part for part in found if positive[part.chosen].sum() >= min_positives]
    missing = values.isin([MISSING["string"], MISSING["int64"]])
    code, names = pd.factorize(values.astype(str).where(~missing, "(missing)"))
    enough = np.bincount(code, positive, len(names)) >= min_positives
    by_clicks = np.argsort(-np.bincount(code, minlength=len(names)), kind="stable")
    return [Slice(str(names[n]), code == n) for n in by_clicks[enough[by_clicks]]]
