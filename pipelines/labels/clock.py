"""Time bounds of the label job: splits, their segments, and the end of the observed logs."""

import dataclasses

import numpy as np
import pyarrow as pa

from features.raw_times import NANOSECONDS


@dataclasses.dataclass(frozen=True)
class Clock:
    """Time bounds of the label job, in time units since 1970.

    Attributes:
        start: start of the training split.
        eval_from: start of the evaluation split, inclusive.
        eval_until: end of the evaluation split, exclusive.
        observed_until: time up to which the logs are complete.
        segment: length of a segment in time units.
        day: length of a day in time units.
        without_days: days, counted from 1970-01-01, that are in no split.
        units_per_second: time units in a second.
    """

    start: int
    eval_from: int
    eval_until: int
    observed_until: int
    segment: int
    day: int
    without_days: tuple[int, ...] = ()
    units_per_second: int = 1

    def in_units(self, rows: pa.Table) -> pa.Table:
        """Rows with timestamps in nanoseconds as rows in time units."""
        place, factor = rows.schema.get_field_index("timestamp"), NANOSECONDS // self.units_per_second
        times = pa.array(rows["timestamp"].to_numpy() // factor)
        return rows.set_column(place, "timestamp", times)

    def segments(self) -> dict[str, int]:
        """Returns the number of segments of each split."""
        return {
            "train": max(-(-(self.eval_from - self.start) // self.segment), 0),
            "eval": max(-(-(self.eval_until - max(self.eval_from, self.start)) // self.segment), 0),
        }

    def in_splits(self, time: np.ndarray) -> np.ndarray:
        """Whether each click is in a split, bool [clicks]; other clicks are context."""
        return (time >= self.start) & (time < self.eval_until) & ~np.isin(time // self.day, self.without_days)

    def split_and_segment(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns whether each click is in the evaluation split, bool [clicks], and its segment in its split, int64 [clicks]."""
        is_eval = time >= self.eval_from
        origin = np.where(is_eval, max(self.eval_from, self.start), self.start)
        return is_eval, (time - origin) // self.segment
