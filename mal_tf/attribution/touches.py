"""Events and touches: clicks, and the context touches, such as views, that take credit beside them, as sorted arrays."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mal_tf.attribution.touchpoints import Touchpoints

#: Name of the kind of touch that gets labels. Other kinds are context, such as views.
CLICK = "click"


@dataclasses.dataclass(frozen=True)
class Events:
    """Events of one table, sorted by (group, time, id).

    Attributes:
        group: int64, code of (user, match key).
        time: int64, time units since 1970.
    """

    group: np.ndarray
    time: np.ndarray


@dataclasses.dataclass(frozen=True)
class Kinds:
    """Kinds of the C touches of a shard: all clicks, then the context touches of each kind, each part sorted as `Events`.

    Attributes:
        names: name of each kind, clicks first.
        kind: int64 [C], index into `names`.
        rank: int64 [C], place of each touch in the order of group and time. At equal times, context touches come before
            clicks, so that a click is later than a view of the same moment.
    """

    names: tuple[str, ...]
    kind: np.ndarray
    rank: np.ndarray

    @classmethod
    def from_events(cls, names: Sequence[str], parts: Sequence[Events]) -> "Kinds":
        """Kinds of the events of each kind, in the order of `names`."""
        kind = np.repeat(np.arange(len(parts)), [part.time.size for part in parts])
        group, time = (np.concatenate([getattr(part, key) for part in parts]) for key in ("group", "time"))
        rank = np.empty(kind.size, np.int64)
        rank[np.lexsort((kind == 0, time, group))] = np.arange(kind.size)
        return cls(tuple(names), kind, rank)


@dataclasses.dataclass(frozen=True)
class Touches:
    """Columns of the C sorted clicks, and of context touches after them, from which journeys are built.

    Attributes:
        time: int64 [C].
        touchpoint: int64 [C], code of the type from the touchpoint column.
        touchpoints: names of the types, and which parts are derived from the journey.
        confounders: uint64 [C, F].
        units_per_hour: time units in an hour.
        kinds: kinds of the touches; None if all are clicks.
    """

    time: np.ndarray
    touchpoint: np.ndarray
    touchpoints: Touchpoints
    confounders: np.ndarray
    units_per_hour: int
    kinds: Kinds | None = None
