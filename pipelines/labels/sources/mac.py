"""The source adapter of MAC (Wu et al., arXiv 2603.02184), clicks of Taobao released with labels of several mechanisms.

The release has a file per day in `train/` and the last day in `test/`. Clicks are in time order, but have no timestamps. Features
are tokens, with a vocabulary each in `vocabs/`. Each mechanism has a column of credits (≥ 0), so nothing is attributed here.
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
    """A file with the clicks of a day.

    Attributes:
        split: `train` or `eval`.
        segment: index of the day in the split.
        path: path of the file.
        bytes: size of the file.
        number: index of the day among all days.
    """

    split: str
    segment: int
    path: str
    bytes: int
    number: int


class MacSource(Source):
    """Adapter `mac`. Features, also histories, name columns of the release: `{type: history, name: ad_feat0_seq, of: ad_feat0}`.

    Attributes:
        folder: directory of the release, relative to the config, with `train`, `test` and `vocabs`.
        padding: token that pads histories. It is read as a missing token, which `model.mask_padding` ignores.
    """

    ready_made: ClassVar[bool] = True

    adapter: Literal["mac"]
    folder: Path
    padding: str = "0"

    def tables(self) -> SourceTables:
        """Raises an error, as the release has no tables of clicks and conversions.

        Raises:
            MalTfError: always.
        """
        raise MalTfError("adapter 'mac' has ready-made labels and no tables of clicks and conversions")

    def days(self) -> list[Day]:
        """Lists all files of clicks in time order.

        Raises:
            MalTfError: a file is missing.
        """
        folder = self.folder.rstrip("/")
        paths = files.match((f"{folder}/train/*.parquet",))
        for number, (path, _) in enumerate(paths):
            expected = f"{folder}/train/train-{number:02d}.parquet"
            if path != expected:
                raise MalTfError(
                    f"expected {expected}, found {path}; download the missing day, or remove the stray file"
                )
        days = [Day("train", number, *file, number) for number, file in enumerate(paths)]
        ((path, size),) = files.match((f"{folder}/test/test.parquet",))
        return [*days, Day("eval", 0, path, size, len(days))]

    def vocabulary(self, column: str) -> str:
        """Returns the path of the vocabulary file of a column, a JSON object of index by token."""
        return f"{self.folder.rstrip('/')}/vocabs/{column}.json"

    def inputs(self, columns: Sequence[str]) -> list[tuple[str, int]]:
        """Lists all files that are read for features on `columns`, as pairs (path, bytes).

        Raises:
            MalTfError: a file is missing.
        """
        days = [(day.path, day.bytes) for day in self.days()]
        return days + files.match(tuple(self.vocabulary(column) for column in columns))
