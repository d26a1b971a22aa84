"""Journeys: which clicks are eligible for which conversion, as flat arrays (CSR)."""

import dataclasses

import numpy as np

from features.arrays import composite_keys, flatten_ranges


@dataclasses.dataclass(frozen=True)
class JourneyRules:
    """What makes a click eligible.

    Attributes:
        window: largest `t_conv - t_click`, in time units, included.
        simultaneous: whether a click at the very time of the conversion is eligible.
        reset_after_conversion: whether a journey begins anew after the previous conversion of its user and match key.
    """

    window: int
    simultaneous: bool = True
    reset_after_conversion: bool = False


@dataclasses.dataclass(frozen=True)
class Journeys:
    """J journeys of T touches in all; touches of a journey are adjacent and in time order.

    Attributes:
        offsets: int64 [J + 1], where each journey begins.
        click: int64 [T], position of each touch in the click arrays.
        touchpoint: int64 [T], code of the touchpoint type, an index into `touchpoints`.
        touchpoints: object [K], names of the touchpoint types.
        age: int64 [T], time units from the touch to the end of the journey (the conversion, if there is one).
        value: float64 [J], worth of the conversion; 0 for journeys that led to nothing.
    """

    offsets: np.ndarray
    click: np.ndarray
    touchpoint: np.ndarray
    touchpoints: np.ndarray
    age: np.ndarray
    value: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 [J], touches per journey."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> np.ndarray:
        """int64 [T], the journey of each touch."""
        return np.repeat(np.arange(self.value.size), self.lengths)

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


def converting_journeys(
    clicks: Events,
    conversions: Events,
    rules: JourneyRules,
    touchpoint: np.ndarray,
    touchpoints: np.ndarray,
    value: np.ndarray,
) -> Journeys:
    """Builds one journey per conversion: its eligible clicks in time order; empty where there is none.

    Args:
        clicks: sorted clicks [C].
        conversions: sorted conversions [J]; groups share the clicks' codes.
        rules: eligibility.
        touchpoint: int64 [C], type codes.
        touchpoints: names by code.
        value: float64 [J], worth of each conversion.
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
        # Clicks up to and at the previous conversion are spent; a simultaneous one too, unless it was not eligible.
        same = conversions.group[1:] == conversions.group[:-1]
        start[1:] = np.where(same, np.maximum(start[1:], stop[:-1]), start[1:])
    lengths = np.maximum(stop - start, 0)
    offsets, index = flatten_ranges(start, lengths)
    age = np.repeat(conversions.time, lengths) - clicks.time[index]
    return Journeys(offsets, index, touchpoint[index], touchpoints, age, value)


def other_journeys(
    clicks: Events, claimed: np.ndarray, window: int, touchpoint: np.ndarray, touchpoints: np.ndarray
) -> Journeys:
    """Builds the journeys that led to nothing.

    One is a maximal run of neighbouring clicks of one user and match key that no conversion claims and whose gaps are
    at most the window.

    Args:
        clicks: sorted clicks [C].
        claimed: bool [C], whether the click is in a converting journey, or may not be used for another reason.
        window: time units.
        touchpoint: int64 [C], type codes.
        touchpoints: names by code.
    """
    index = np.flatnonzero(~claimed)
    group, time = clicks.group[index], clicks.time[index]
    begins = np.ones(index.size, bool)
    if index.size:
        begins[1:] = (np.diff(index) > 1) | (np.diff(group) != 0) | (np.diff(time) > window)
    offsets = np.append(np.flatnonzero(begins), index.size).astype(np.int64)
    last = np.repeat(time[offsets[1:] - 1], np.diff(offsets)) if index.size else time
    return Journeys(offsets, index, touchpoint[index], touchpoints, last - time, np.zeros(offsets.size - 1))
