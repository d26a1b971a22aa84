"""Histories: a user's last events strictly before a click."""

import numpy as np

from features.arrays import composite_keys, flatten_ranges


def last_events(
    event_user: np.ndarray, event_time: np.ndarray, click_user: np.ndarray, click_time: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds, per click, the user's last `length` events with `event time < click time`, most recent first.

    Args:
        event_user: int64 [E], user codes, ascending.
        event_time: int64 [E], ascending within a user.
        click_user: int64 [C], user codes, any order.
        click_time: int64 [C].
        length: how many events at most.

    Returns:
        offsets: int64 [C + 1].
        index: int64 [offsets[-1]], positions in the event arrays.
    """
    if not event_time.size:  # There is no earliest time, and 0 would make the span of times too large.
        return np.zeros(click_time.size + 1, np.int64), np.zeros(0, np.int64)
    events, clicks, first = composite_keys(
        [event_user, click_user, click_user], [event_time, click_time, np.full_like(click_time, event_time.min())]
    )
    stop = np.searchsorted(events, clicks, side="left")
    begin = np.maximum(np.searchsorted(events, first, side="left"), stop - length)
    offsets, index = flatten_ranges(begin, np.maximum(stop - begin, 0))
    # Mirror each range within its own bounds: position p of [a, b) becomes a + b - 1 - p.
    ends = np.repeat(offsets[:-1] + offsets[1:] - 1, np.diff(offsets))
    return offsets, index[ends - np.arange(index.size)] if index.size else index
