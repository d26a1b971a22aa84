"""MAC (Wu et al., arXiv 2603.02184): clicks of Taobao with the labels of several attribution mechanisms, as released.

A file per day in `train/`, the last day in `test/`, clicks in the order of their time, which itself is left out; features
are tokens, with a vocabulary each in `vocabs/`; a column of credits (≥ 0) per mechanism. Nothing is attributed here.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal

from features.errors import MalTfError
from features.frozen import Path
from pipelines.core import files
from pipelines.labels.sources.tables import Source, SourceTables


@dataclasses.dataclass(frozen=True)
class Day:
    """One file of clicks.

    Attributes:
        split: `train` or `eval`.
        segment: its place in the split.
        path: of the file.
        bytes: its size.
        number: its place among all days.
    """

    split: str
    segment: int
    path: str
    bytes: int
    number: int


class MacSource(Source):
    """Adapter `mac`. Features name the release's columns, histories too: `{type: history, name: ad_feat0_seq, of: ad_feat0}`.

    Attributes:
        folder: of the release, relative to the config: what holds `train`, `test` and `vocabs`.
        padding: the token that fills up histories; it becomes a missing one, which `model.mask_padding` leaves out.
    """

    ready_made: ClassVar[bool] = True

    adapter: Literal["mac"]
    folder: Path
    padding: str = "0"

    def tables(self) -> SourceTables:
        """See base class."""
        raise MalTfError("adapter 'mac' has ready-made labels, not the tables of clicks and conversions")

    def days(self) -> list[Day]:
        """All files of clicks, in the order of time.

        Raises:
            MalTfError: one is missing.
        """
        folder = self.folder.rstrip("/")
        paths = files.match((f"{folder}/train/*.parquet",))
        for number, (path, _) in enumerate(paths):
            expected = f"{folder}/train/train-{number:02d}.parquet"
            if path != expected:
                raise MalTfError(
                    f"expected {expected}, found {path}: fetch the missing day, or take the stray file away"
                )
        days = [Day("train", number, *file, number) for number, file in enumerate(paths)]
        ((path, size),) = files.match((f"{folder}/test/test.parquet",))
        return [*days, Day("eval", 0, path, size, len(days))]

    def vocabulary(self, column: str) -> str:
        """The file of a column's tokens and their indices."""
        return f"{self.folder.rstrip('/')}/vocabs/{column}.json"

    def inputs(self, columns: Sequence[str]) -> list[tuple[str, int]]:
        """All files that are read where features are made of `columns`: (path, bytes).

        Raises:
            MalTfError: one is missing.
        """
        days = [(day.path, day.bytes) for day in self.days()]
        return days + files.match(tuple(self.vocabulary(column) for column in columns))
