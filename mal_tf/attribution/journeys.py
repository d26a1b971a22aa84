"""Journeys, the eligible clicks of each conversion, as flat arrays in compressed sparse row (CSR) form."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from features.arrays import composite_keys, flatten_ranges
from mal_tf.attribution.touches import CLICK, Events, Kinds, Touches


@dataclasses.dataclass(frozen=True)
class JourneyRules:
    """Rules for which clicks are eligible for a conversion.

    Attributes:
        window: largest time from click to conversion, in time units, included.
        simultaneous: whether a click at exactly the time of the conversion is eligible.
        reset_after_conversion: whether journeys are cut at the last earlier conversion of the same user and match key.
        context: window of each kind of context touch, at most `window`; empty if journeys are of clicks alone.
    """

    window: int
    simultaneous: bool = True
    reset_after_conversion: bool = False
    context: tuple[int, ...] = ()

    @property
    def windows(self) -> tuple[int, ...]:
        """Windows of clicks and of each kind of context touch."""
        return (self.window, *self.context)


@dataclasses.dataclass(frozen=True)
class Journeys:
    """J journeys of T touches in all; touches of a journey are adjacent and in time order.

    A conversion without an eligible click has a journey of length 0.

    Attributes:
        offsets: int64 [J + 1], index of the first touch of each journey, then T.
        click: int64 [T], position of each touch in the click arrays. Context touches have positions after all clicks.
        touchpoint: int64 [T], code of the touchpoint type, an index into `touchpoints`.
        touchpoints: object [K], names of the touchpoint types, all different.
        age: float64 [T], hours from the touch to the end of the journey: the conversion or, without one, the last touch.
        value: float64 [J], worth of the conversion; 0 for journeys without conversion.
        key: uint64 [J], stable hash of user and id of the conversion (without one, of the first click), for sampling.
        confounders: uint64 [J, F], stable hashes of the user's features at the first touch.
        kind: int64 [T], kind of each touch, an index into `kinds`; zeros by default.
        kinds: names of the kinds of touch: clicks (0), then those of context, such as `view`.

    Example:
        >>> import numpy as np
        >>> import mal_tf
        >>> journeys = mal_tf.Journeys(
        ...     offsets=np.array([0, 2, 3]),
        ...     click=np.array([5, 6, 9]),
        ...     touchpoint=np.array([0, 1, 1]),
        ...     touchpoints=np.array(["feed", "search"], object),
        ...     age=np.array([3.0, 1.0, 0.5]),
        ...     value=np.ones(2),
        ...     key=np.zeros(2, np.uint64),
        ...     confounders=np.zeros((2, 0), np.uint64),
        ... )
        >>> journeys.lengths, journeys.owner
        (array([2, 1]), array([0, 0, 1]))
    """

    offsets: np.ndarray
    click: np.ndarray
    touchpoint: np.ndarray
    touchpoints: np.ndarray
    age: np.ndarray
    value: np.ndarray
    key: np.ndarray
    confounders: np.ndarray
    kind: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: tuple[str, ...] = (CLICK,)

    def __post_init__(self):
        if len(self.kinds) == 1 and self.kind.size != self.click.size:
            object.__setattr__(self, "kind", np.zeros(self.click.size, np.int64))

    @property
    def lengths(self) -> np.ndarray:
        """Number of touches of each journey, int64 [J]."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> np.ndarray:
        """Journey of each touch, int64 [T]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, journeys: np.ndarray) -> "Journeys":
        """The journeys at these positions, in this order."""
        offsets, touches = flatten_ranges(self.offsets[journeys], self.lengths[journeys])
        return dataclasses.replace(
            self,
            offsets=offsets,
            click=self.click[touches],
            touchpoint=self.touchpoint[touches],
            age=self.age[touches],
            value=self.value[journeys],
            key=self.key[journeys],
            confounders=self.confounders[journeys],
            kind=self.kind[touches],
        )

    def __len__(self) -> int:
        return self.value.size


@dataclasses.dataclass(frozen=True)
class Spans:
    """J journeys as ranges of the sorted touches, a compact form from which `Journeys` are expanded.

    Attributes:
        start: int64 [J], position of the first click.
        length: int64 [J], number of clicks.
        end: int64 [J], when the journey ends, in time units.
        value: float64 [J].
        key: uint64 [J].
        context: start and length of the journeys' touches of each kind of context.
    """

    start: np.ndarray
    length: np.ndarray
    end: np.ndarray
    value: np.ndarray
    key: np.ndarray
    context: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    @property
    def _ranges(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Start and length of the journeys' touches of each kind, clicks first."""
        return ((self.start, self.length), *self.context)

    @property
    def touches(self) -> np.ndarray:
        """Number of touches of each journey, int64 [J]."""
        return sum((length for _, length in self.context), self.length)

    def covered(self, touches: int) -> np.ndarray:
        """Whether each touch is in any journey, bool [touches]."""
        start, length = (np.concatenate(parts) for parts in zip(*self._ranges, strict=True))
        steps = np.bincount(start, length > 0, touches + 1) - np.bincount(start + length, length > 0, touches + 1)
        return np.cumsum(steps)[:touches] > 0

    def select(self, keep: np.ndarray | slice) -> "Spans":
        """The journeys that a mask or slice selects."""
        context = tuple((start[keep], length[keep]) for start, length in self.context)
        return Spans(self.start[keep], self.length[keep], self.end[keep], self.value[keep], self.key[keep], context)

    def first(self, kinds: Kinds | None) -> np.ndarray:
        """Position of the first touch of each journey, int64 [J]; any position where there is none."""
        if kinds is None or not self.context:
            return self.start
        starts, lengths = (np.stack(parts) for parts in zip(*self._ranges, strict=True))
        starts = np.minimum(starts, max(kinds.rank.size - 1, 0))
        ranks = np.where(lengths > 0, kinds.rank[starts] if kinds.rank.size else 0, kinds.rank.size)
        return starts[ranks.argmin(axis=0), np.arange(self.start.size)]

    def blocks(self, touches: Touches, cost: int = 20_000_000) -> Iterator[Journeys]:
        """Expands the journeys in blocks of bounded memory, however long they are.

        A journey of n touches of K types costs n + min(n, K)², the size of the largest array of any mechanism.

        Args:
            touches: columns of the sorted clicks.
            cost: limit per block, which a single journey may exceed.
        """
        length = self.touches
        distinct = np.minimum(length, touches.touchpoints.names.size)
        total = np.cumsum(length + distinct * distinct)
        begin = 0
        while begin < self.length.size:
            spent = total[begin - 1] if begin else 0
            stop = max(int(np.searchsorted(total, spent + cost, side="right")), begin + 1)
            yield self.select(slice(begin, stop)).journeys(touches)
            begin = stop

    def journeys(self, touches: Touches) -> Journeys:
        """Expands the journeys."""
        offsets, index = self._expanded(touches.kinds)
        age = (np.repeat(self.end, np.diff(offsets)) - touches.time[index]) / touches.units_per_hour
        touchpoint, names = touches.touchpoints.derive(touches.touchpoint[index], offsets, age)
        first = np.minimum(self.first(touches.kinds), max(touches.time.size - 1, 0))
        empty = np.zeros((first.size, touches.confounders.shape[1]), touches.confounders.dtype)
        confounders = touches.confounders[first] if touches.time.size else empty
        journeys = Journeys(offsets, index, touchpoint, names, age, self.value, self.key, confounders)
        if touches.kinds is None:
            return journeys
        return dataclasses.replace(journeys, kind=touches.kinds.kind[index], kinds=touches.kinds.names)

    def _expanded(self, kinds: Kinds | None) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of the journeys, and positions of their touches in time order."""
        if kinds is None or not self.context:
            return flatten_ranges(self.start, self.length)
        starts, lengths = (np.stack(parts, axis=1) for parts in zip(*self._ranges, strict=True))
        _, index = flatten_ranges(starts.ravel(), lengths.ravel())
        offsets = np.concatenate([[0], np.cumsum(lengths.sum(axis=1))]).astype(np.int64)
        owner = np.repeat(np.arange(self.start.size), np.diff(offsets))
        return offsets, index[np.lexsort((kinds.rank[index], owner))]


def converting_spans(
    clicks: Events,
    conversions: Events,
    rules: JourneyRules,
    value: np.ndarray,
    key: np.ndarray,
    context: Sequence[Events] = (),
) -> Spans:
    """Finds the eligible clicks of each conversion, as one journey per conversion; of length 0 without any.

    Args:
        clicks: sorted clicks [C].
        conversions: sorted conversions [J]; groups share the clicks' codes.
        rules: eligibility.
        value: float64 [J], worth of each conversion.
        key: uint64 [J].
        context: sorted context touches of each kind in `rules.context`; groups share the clicks' codes.
    """
    parts = (clicks, *context)[: len(rules.windows)]
    bases = np.cumsum([0, *(part.time.size for part in parts)])
    ranges = [_eligible(part, conversions, rules, window) for part, window in zip(parts, rules.windows, strict=True)]
    (start, length), *others = [(base + start, length) for base, (start, length) in zip(bases, ranges, strict=False)]
    return Spans(start, length, conversions.time, value, key, tuple(others))


def _eligible(touches: Events, conversions: Events, rules: JourneyRules, window: int) -> tuple[np.ndarray, np.ndarray]:
    """First of the touches that are eligible for each conversion, and their number, int64 [J]."""
    floor = touches.time.min() if touches.time.size else 0
    opening = np.maximum(conversions.time - window, floor)
    touch_key, end_key, begin_key = composite_keys(
        [touches.group, conversions.group, conversions.group], [touches.time, conversions.time, opening]
    )
    after = np.searchsorted(touch_key, end_key, side="right")
    stop = after if rules.simultaneous else np.searchsorted(touch_key, end_key, side="left")
    start = np.searchsorted(touch_key, begin_key, side="left")
    if rules.reset_after_conversion and len(after) > 1:
        # Touches that were eligible for the last earlier conversion or came before it are not eligible again. Conversions
        # of one time, such as the lines of an order, share their touches.
        same_group = np.append(False, conversions.group[1:] == conversions.group[:-1])
        same_time = np.append(False, conversions.time[1:] == conversions.time[:-1])
        simultaneous = same_group & same_time
        first = np.maximum.accumulate(np.where(simultaneous, 0, np.arange(len(after))))
        start = np.where(same_group[first], np.maximum(start, stop[first - 1]), start)
    return start, np.maximum(stop - start, 0)


def other_spans(
    touches: Events, claimed: np.ndarray, windows: int | Sequence[int], kinds: Kinds | None = None
) -> Spans:
    """Finds the journeys without conversion, with keys of 0.

    Such a journey is a maximal run of consecutive touches of one user and match key that are not `claimed`, each of which
    comes while the window of an earlier one is still open. For clicks alone: whose gaps are at most the window.

    Args:
        touches: sorted clicks, then the sorted context touches of each kind [C].
        claimed: bool [C], touches that are in a converting journey or excluded for another reason.
        windows: window of each kind, in time units; one number if all are clicks.
        kinds: kinds of the touches; None if all are clicks.
    """
    order = np.arange(touches.time.size) if kinds is None else np.argsort(kinds.rank)
    place = np.flatnonzero(~claimed[order])
    index = order[place]
    group, time = touches.group[index], touches.time[index]
    breaks = np.ones(index.size, bool)
    breaks[1:] = (np.diff(place) > 1) | (np.diff(group) != 0)
    number = np.arange(index.size)
    opening = np.maximum.accumulate(np.where(breaks, number, 0))
    begins, ranges = np.ones(index.size, bool), []
    of_kind = (
        [np.ones(index.size, bool)] if kinds is None else [kinds.kind[index] == k for k in range(len(kinds.names))]
    )
    for is_kind, window in zip(of_kind, (windows,) if isinstance(windows, int) else windows, strict=True):
        latest = np.append(-1, np.maximum.accumulate(np.where(is_kind, number, -1))[:-1])[: index.size]
        begins &= (latest < opening) | (time - time[latest] > window)
    first = np.flatnonzero(begins)
    stop = np.append(first[1:], index.size)[: first.size]
    for is_kind in of_kind:
        before, mine = np.append(0, np.cumsum(is_kind)), np.append(index[is_kind], 0)
        ranges.append((mine[before[first]], before[stop] - before[first]))
    (start, length), *context = ranges
    none = np.zeros(first.size)
    return Spans(start, length, time[stop - 1], none, none.astype(np.uint64), tuple(context))
