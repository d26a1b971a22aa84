"""Slices where the clicks lie in many places: counted, chosen once, then found again in each place."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.slices import slice_by


@dataclasses.dataclass(frozen=True)
class Slices:
    """How clicks are sliced.

    Attributes:
        label: column of the label whose metrics are sliced.
        by: `path_length` and categorical features.
        min_positives: slices of fewer are left out.
    """

    label: str
    by: Sequence[str]
    min_positives: int

    def tally(self, clicks: pa.Table) -> pd.DataFrame:
        """`clicks` and `positives` of each slice, by what it is by and its name."""
        label = clicks[self.label].to_numpy()
        rows = {
            (by, part.name): (part.chosen.sum(), (part.chosen & (label > 0)).sum())
            for by in self.by
            for part in slice_by(clicks[by].to_pandas().rename(by), label)
        }
        return pd.DataFrame.from_dict(rows, "index", np.int64, ["clicks", "positives"])

    def choose(self, tally: pd.DataFrame) -> list[tuple[str, str]]:
        """The slices to report: by path length, or the most frequent value first."""
        return []

    def members(self, clicks: pa.Table, chosen: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Which clicks are in which of the chosen slices: their rows, ascending, and the slice's number, int64 [n]."""
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
