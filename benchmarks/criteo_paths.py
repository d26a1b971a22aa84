"""Reads the paths of Criteo's attribution log: the touches of a user before a conversion, or without one."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarks.real_logs import criteo_source
from features.arrays import flatten_ranges
from mal_tf.attribution.journeys import Journeys

#: Gap that ends a path without conversion, in seconds, and the least number of touches of a path.
_GAP, _MIN_TOUCHES = 3 * 86_400, 3


@dataclasses.dataclass(frozen=True)
class Paths:
    """P paths of T touches in total. The touches of a path are adjacent and in time order.

    Attributes:
        offsets: int64 [P + 1], the position of each path's first touch.
        user: int64 [P].
        converted: bool [P].
        time: int64 [T], seconds.
        channel: int64 [T], index into `channels`.
        cost: float64 [T].
        channels: object [K], names.
    """

    offsets: np.ndarray
    user: np.ndarray
    converted: np.ndarray
    time: np.ndarray
    channel: np.ndarray
    cost: np.ndarray
    channels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of touches of each path, int64 [P]."""
        return np.diff(self.offsets)

    def select(self, keep: np.ndarray) -> "Paths":
        """Return the paths that a mask, bool [P], selects."""
        offsets, touch = flatten_ranges(self.offsets[:-1][keep], self.lengths[keep])
        touches = {name: getattr(self, name)[touch] for name in ("time", "channel", "cost")}
        return Paths(offsets, self.user[keep], self.converted[keep], **touches, channels=self.channels)

    def journeys(self) -> Journeys:
        """Convert to journeys that end at their last touch, as the time of the conversion would give the outcome away."""
        last = self.time[self.offsets[1:] - 1]
        return Journeys(
            offsets=self.offsets,
            click=np.arange(self.time.size),
            touchpoint=self.channel,
            touchpoints=self.channels,
            age=(np.repeat(last, self.lengths) - self.time) / 3600,
            value=self.converted.astype(np.float64),
            key=pd.util.hash_array(self.user) ^ pd.util.hash_array(self.time[self.offsets[:-1]]),
            confounders=np.zeros((self.user.size, 0), np.uint64),
        )


def read(name: str, channel: Sequence[str] = ("campaign",), cut: bool = False) -> Paths:
    """Read one of Criteo's files.

    Args:
        name: `nofeatures`, whose touches cost 0, or `with_features`.
        channel: columns that make the channel.
        cut: whether to cut converting paths at gaps, as the others are.
    """
    touches = pd.read_csv(criteo_source(name)).sort_values(["seq_id", "timestamp", "pos"])
    if cut:
        late = touches.groupby("seq_id")["timestamp"].diff() >= _GAP
        run = late.groupby(touches["seq_id"]).cumsum()
        touches = touches[run == run.groupby(touches["seq_id"]).transform("max")]
        touches = touches[touches.groupby("seq_id")["pos"].transform("size") >= _MIN_TOUCHES]
    first = np.flatnonzero(~touches["seq_id"].duplicated())
    names = touches[list(channel)].astype(str).agg(":".join, axis=1)
    channels, code = np.unique(names.to_numpy(object), return_inverse=True)
    return Paths(
        offsets=np.append(first, len(touches)),
        user=touches["uid"].to_numpy()[first],
        converted=touches["conversion"].to_numpy()[first] == 1,
        time=touches["timestamp"].to_numpy(),
        channel=code,
        cost=touches["cost"].to_numpy() if "cost" in touches else np.zeros(len(touches)),
        channels=channels,
    )


def fold(paths: Paths, folds: int) -> np.ndarray:
    """Return the fold of each path, by a hash of its user: int64 [P]."""
    return (pd.util.hash_array(paths.user) % np.uint64(folds)).astype(np.int64)
