"""Clock of the label job: when splits and their segments begin and end, and how far events are observed."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Clock:
    """Bounds of splits, segments and what is observed, in time units since 1970.

    Attributes:
        start: first moment of the training split.
        eval_from: first moment of the evaluation split.
        eval_until: first moment after it.
        observed_until: the logs are complete up to here.
        segment: length of a segment.
        day: length of a day.
        without_days: days since 1970 that are in no split.
    """

    start: int
    eval_from: int
    eval_until: int
    observed_until: int
    segment: int
    day: int
    without_days: tuple[int, ...] = ()

    def segments(self) -> dict[str, int]:
        """How many segments each split has."""
        return {
            "train": max(-(-(self.eval_from - self.start) // self.segment), 0),
            "eval": max(-(-(self.eval_until - max(self.eval_from, self.start)) // self.segment), 0),
        }

    def in_splits(self, time: np.ndarray) -> np.ndarray:
        """Whether each click is in a split; others are context."""
        return (time >= self.start) & (time < self.eval_until) & ~np.isin(time // self.day, self.without_days)

    def split_and_segment(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each click: whether it is in the evaluation split, and its segment there."""
        is_eval = time >= self.eval_from
        origin = np.where(is_eval, max(self.eval_from, self.start), self.start)
        return is_eval, (time - origin) // self.segment
