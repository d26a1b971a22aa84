"""Journeys, the eligible clicks of each conversion, as flat arrays in compressed sparse row (CSR) form."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from features.arrays import composite_keys, flatten_ranges
from mal_tf.attribution.touchpoints import Touchpoints


@dataclasses.dataclass(frozen=True)
class JourneyRules:
    """Rules for which clicks are eligible for a conversion.

    Attributes:
        window: largest time from click to conversion, in time units, included.
        simultaneous: whether a click at exactly the time of the conversion is eligible.
        reset_after_conversion: whether journeys are cut at the last earlier conversion of the same user and match key.
    """

    window: int
    simultaneous: bool = True
    reset_after_conversion: bool = False


@dataclasses.dataclass(frozen=True)
class Journeys:
    """J journeys of T touches in all; touches of a journey are adjacent and in time order.

    A conversion without an eligible click has a journey of length 0.

    Attributes:
        offsets: int64 [J + 1], index of the first touch of each journey, then T.
        click: int64 [T], position of each touch in the click arrays.
        touchpoint: int64 [T], code of the touchpoint type, an index into `touchpoints`.
        touchpoints: object [K], names of the touchpoint types, all different.
        age: float64 [T], hours from the touch to the end of the journey: the conversion or, without one, the last touch.
        value: float64 [J], worth of the conversion; 0 for journeys without conversion.
        key: uint64 [J], stable hash of user and id of the conversion (without one, of the first click), for sampling.
        confounders: uint64 [J, F], stable hashes of the user's features at the first touch.

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
        )

    def __len__(self) -> int:
        return self.value.size


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
class Touches:
    """Columns of the C sorted clicks from which journeys are built.

    Attributes:
        time: int64 [C].
        touchpoint: int64 [C], code of the type from the touchpoint column.
        touchpoints: names of the types, and which parts are derived from the journey.
        confounders: uint64 [C, F].
        units_per_hour: time units in an hour.
    """

    time: np.ndarray
    touchpoint: np.ndarray
    touchpoints: Touchpoints
    confounders: np.ndarray
    units_per_hour: int


@dataclasses.dataclass(frozen=True)
class Spans:
    """J journeys as ranges of the sorted clicks, a compact form from which `Journeys` are expanded.

    Attributes:
        start: int64 [J], position of the first touch.
        length: int64 [J].
        end: int64 [J], when the journey ends, in time units.
        value: float64 [J].
        key: uint64 [J].
    """

    start: np.ndarray
    length: np.ndarray
    end: np.ndarray
    value: np.ndarray
    key: np.ndarray

    def covered(self, clicks: int) -> np.ndarray:
        """Whether each click is in any journey, bool [clicks]."""
        steps = np.bincount(self.start, self.length > 0, clicks + 1) - np.bincount(
            self.start + self.length, self.length > 0, clicks + 1
        )
        return np.cumsum(steps)[:clicks] > 0

    def select(self, keep: np.ndarray | slice) -> "Spans":
        """The journeys that a mask or slice selects."""
        return Spans(*(getattr(self, field.name)[keep] for field in dataclasses.fields(self)))

    def blocks(self, touches: Touches, cost: int = 20_000_000) -> Iterator[Journeys]:
        """Expands the journeys in blocks of bounded memory, however long they are.

        A journey of n touches of K types costs n + min(n, K)², the size of the largest array of any mechanism.

        Args:
            touches: columns of the sorted clicks.
            cost: limit per block, which a single journey may exceed.
        """
        distinct = np.minimum(self.length, touches.touchpoints.names.size)
        total = np.cumsum(self.length + distinct * distinct)
        begin = 0
        while begin < self.length.size:
            spent = total[begin - 1] if begin else 0
            stop = max(int(np.searchsorted(total, spent + cost, side="right")), begin + 1)
            yield self.select(slice(begin, stop)).journeys(touches)
            begin = stop

    def journeys(self, touches: Touches) -> Journeys:
        """Expands the journeys."""
        offsets, index = flatten_ranges(self.start, self.length)
        age = (np.repeat(self.end, self.length) - touches.time[index]) / touches.units_per_hour
        touchpoint, names = touches.touchpoints.derive(touches.touchpoint[index], offsets, age)
        first = np.minimum(self.start, max(touches.time.size - 1, 0))
        empty = np.zeros((first.size, touches.confounders.shape[1]), touches.confounders.dtype)
        confounders = touches.confounders[first] if touches.time.size else empty
        return Journeys(offsets, index, touchpoint, names, age, self.value, self.key, confounders)


def converting_spans(
    clicks: Events, conversions: Events, rules: JourneyRules, value: np.ndarray, key: np.ndarray
) -> Spans:
    """Finds the eligible clicks of each conversion, as one journey per conversion; of length 0 without any.

    Args:
        clicks: sorted clicks [C].
        conversions: sorted conversions [J]; groups share the clicks' codes.
        rules: eligibility.
        value: float64 [J], worth of each conversion.
        key: uint64 [J].
    """
    floor = clicks.time.min() if clicks.time.size else 0
    opening = np.maximum(conversions.time - rules.window, floor)
    click_key, end_key, begin_key = composite_keys(
        [clicks.group, conversions.group, conversions.group], [clicks.time, conversions.time, opening]
    )
    after = np.searchsorted(click_key, end_key, side="right")
    stop = after if rules.simultaneous else np.searchsorted(click_key, end_key, side="left")
    start = np.searchsorted(click_key, begin_key, side="left")
    if rules.reset_after_conversion and len(after) > 1:
        # Clicks that were eligible for the last earlier conversion or came before it are not eligible again. Conversions
        # of one time, such as the lines of an order, share their clicks.
        same_group = np.append(False, conversions.group[1:] == conversions.group[:-1])
        same_time = np.append(False, conversions.time[1:] == conversions.time[:-1])
        simultaneous = same_group & same_time
        first = np.maximum.accumulate(np.where(simultaneous, 0, np.arange(len(after))))
        start = np.where(same_group[first], np.maximum(start, stop[first - 1]), start)
    return Spans(start, np.maximum(stop - start, 0), conversions.time, value, key)


def other_spans(clicks: Events, claimed: np.ndarray, window: int) -> Spans:
    """Finds the journeys without conversion, with keys of 0.

    Such a journey is a maximal run of consecutive clicks of one user and match key that are not `claimed` and whose gaps
    are at most the window.

    Args:
        clicks: sorted clicks [C].
        claimed: bool [C], clicks that are in a converting journey or excluded for another reason.
        window: largest gap, in time units.
    """
    index = np.flatnonzero(~claimed)
    group, time = clicks.group[index], clicks.time[index]
    begins = np.ones(index.size, bool)
    if index.size:
        begins[1:] = (np.diff(index) > 1) | (np.diff(group) != 0) | (np.diff(time) > window)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], index.size)[: first.size] - 1
    return Spans(index[first], last - first + 1, time[last], np.zeros(first.size), np.zeros(first.size, np.uint64))
