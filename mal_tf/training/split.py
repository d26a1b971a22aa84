"""A split's TFRecord files, in the order in which they are read."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Split:
    """Files by segment.

    Attributes:
        segments: files of each segment, in the order in which they are read.
        file_rows: clicks in each of them.
    """

    segments: Sequence[Sequence[str]]
    file_rows: Sequence[Sequence[int]]

    @property
    def rows(self) -> int:
        """Clicks in all files."""
        return sum(map(sum, self.file_rows))

    def after(self, rows: int) -> tuple["Split", int]:
        """What is left after the first `rows` clicks: segments not read to their end, and clicks to skip in the first."""
        ends = [0, *itertools.accumulate(map(sum, self.file_rows))]
        first = max(number for number, end in enumerate(ends) if end <= rows)
        return Split(self.segments[first:], self.file_rows[first:]), rows - ends[first]

    def without_last(self, count: int) -> "Split":
        """What is before the last segments that have clicks; nothing where there are no more than that."""
        filled = [number for number, rows in enumerate(self.file_rows) if any(rows)]
        end = filled[-count] if count <= len(filled) else 0
        return Split(self.segments[:end], self.file_rows[:end])

    def replaced(self, copies: Mapping[str, tuple[str, int]]) -> "Split":
        """With other files, and their rows, in the place of some."""
        entries = [list(zip(*segment, strict=True)) for segment in zip(self.segments, self.file_rows, strict=True)]
        entries = [[copies.get(file, (file, rows)) for file, rows in segment] for segment in entries]
        return Split([[file for file, _ in s] for s in entries], [[rows for _, rows in s] for s in entries])
