"""TFRecord files of a split by segment, in the order in which they are read."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from mal_tf.attribution.label_counts import LabelCounts, total


@dataclasses.dataclass(frozen=True)
class Split:
    """Files of a split by segment. Segments are read one after the other, the files of a segment round-robin.

    Attributes:
        segments: paths of the files of each segment, in reading order.
        file_rows: number of clicks in each file; empty if they are unknown.
        file_labels: counts of the labels in each file; empty if they are unknown.
        in_memory: whether the clicks are in memory; the names in `segments` are not of files then.
    """

    segments: Sequence[Sequence[str]]
    file_rows: Sequence[Sequence[int]]
    file_labels: Sequence[Sequence[LabelCounts]] = ()
    in_memory: bool = False

    @property
    def rows(self) -> int:
        """Number of clicks in all files."""
        return sum(map(sum, self.file_rows))

    @property
    def files(self) -> Iterator[tuple[str, int]]:
        """Path and number of clicks of each file, in order."""
        return zip(itertools.chain(*self.segments), itertools.chain(*self.file_rows), strict=True)

    @property
    def labels(self) -> LabelCounts | None:
        """Counts of the labels in all files; None if they are unknown."""
        return total(itertools.chain(*self.file_labels))

    def chosen(self, places: Sequence[int]) -> "Split":
        """The segments at these positions, in this order."""
        return Split(
            [self.segments[place] for place in places],
            [self.file_rows[place] for place in places] if self.file_rows else (),
            [self.file_labels[place] for place in places] if self.file_labels else (),
        )

    @classmethod
    def joined(cls, *parts: "Split") -> "Split":
        """Concatenates the segments of several splits."""
        counted = all(len(part.file_labels) == len(part.segments) for part in parts)
        return cls(
            [segment for part in parts for segment in part.segments],
            [rows for part in parts for rows in part.file_rows],
            [labels for part in parts for labels in part.file_labels] if counted else (),
        )

    def in_turns(self) -> "Split":
        """All files as one segment, so that they are read round-robin and not one segment after the other."""
        return Split(
            [list(itertools.chain(*self.segments))] if self.segments else [],
            [list(itertools.chain(*self.file_rows))] if self.file_rows else [],
            [list(itertools.chain(*self.file_labels))] if self.file_labels else (),
        )

    def after(self, rows: int) -> tuple["Split", int]:
        """The segments that remain after the first `rows` clicks, and the number of clicks to skip in the first of them."""
        ends = [0, *itertools.accumulate(map(sum, self.file_rows))]
        first = max(number for number, end in enumerate(ends) if end <= rows)
        return self.chosen(range(first, len(self.segments))), rows - ends[first]

    def without_last(self, count: int) -> "Split":
        """The segments before the last `count` segments that have clicks; none if there are no more than `count`."""
        filled = [number for number, rows in enumerate(self.file_rows) if any(rows)]
        return self.chosen(range(filled[-count] if count <= len(filled) else 0))

    def replaced(self, copies: Mapping[str, tuple[str, int]]) -> "Split":
        """The split with some files replaced by others, given as path and number of clicks."""
        entries = [
            [copies.get(file, (file, rows)) for file, rows in zip(files, counts, strict=True)]
            for files, counts in zip(self.segments, self.file_rows, strict=True)
        ]
        files = [[file for file, _ in segment] for segment in entries]
        return dataclasses.replace(
            self, segments=files, file_rows=[[rows for _, rows in segment] for segment in entries]
        )
