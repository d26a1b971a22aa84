import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.history import last_events

LOG = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=25)


@given(LOG, LOG, st.integers(1, 4))
def test_strictly_earlier_most_recent_first_last_k(events, clicks, length):
    events = sorted(events)
    event_user, event_time = np.array(events, np.int64).reshape(-1, 2).T
    click_user, click_time = np.array(clicks, np.int64).reshape(-1, 2).T
    offsets, index = last_events(event_user, event_time, click_user, click_time, length)
    assert offsets.size == len(clicks) + 1
    for click, (user, time) in enumerate(clicks):
        earlier = [i for i, (u, t) in enumerate(events) if u == user and t < time]
        assert index[offsets[click] : offsets[click + 1]].tolist() == earlier[::-1][:length]


def test_click_at_the_same_time_is_not_history():
    user, time = np.zeros(3, np.int64), np.array([1, 2, 2])
    offsets, index = last_events(user, time, user, time, 5)
    assert offsets.tolist() == [0, 0, 1, 2]
    assert index.tolist() == [0, 0]


def test_no_events_of_many_users_in_microseconds():
    none, clicks = np.zeros(0, np.int64), np.full(10_000, 1_700_000_000_000_000)
    offsets, index = last_events(none, none, np.arange(10_000), clicks, 5)
    assert not offsets.any() and offsets.size == 10_001 and not index.size
