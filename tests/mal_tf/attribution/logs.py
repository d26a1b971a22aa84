"""Hand-built journeys and random small logs."""

import numpy as np
from hypothesis import strategies as st

from mal_tf.attribution.journeys import Events, JourneyRules, Journeys, converting_journeys

#: Clicks and conversions as (group, time); a click's position is its id.
LOG = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=14)
RULES = st.builds(
    JourneyRules, window=st.integers(0, 14), simultaneous=st.booleans(), reset_after_conversion=st.booleans()
)
PATHS = st.lists(st.lists(st.sampled_from("abcd"), max_size=5), max_size=8)


def events(log):
    group, time = np.array(log, np.int64).reshape(-1, 2).T
    return Events(group, time)


def build(clicks, conversions, rules):
    """Journeys of sorted logs, click i of type i modulo 3."""
    touchpoint, names = np.arange(len(clicks)) % 3, np.array(["x", "y", "z"], object)
    return converting_journeys(events(clicks), events(conversions), rules, touchpoint, names, np.ones(len(conversions)))


def eligible(clicks, conversions, rules):
    """Oracle: the ids of each conversion's eligible clicks."""
    found = []
    for i, (group, end) in enumerate(conversions):
        earlier = [t for g, t in conversions[:i] if g == group]
        mine = []
        for click, (g, time) in enumerate(clicks):
            ok = g == group and 0 <= end - time <= rules.window and (rules.simultaneous or time < end)
            if rules.reset_after_conversion and earlier:
                ok = ok and (time > earlier[-1] or (time == earlier[-1] and not rules.simultaneous))
            if ok:
                mine.append(click)
        found.append(mine)
    return found


def by_hand(paths, names=None):
    """One journey per path, a sequence of type names."""
    names = sorted({t for p in paths for t in p}) if names is None else list(names)
    code = {name: i for i, name in enumerate(names)}
    touches = np.array([code[t] for p in paths for t in p], np.int64)
    offsets = np.cumsum([0, *map(len, paths)]).astype(np.int64)
    return Journeys(
        offsets,
        np.arange(touches.size),
        touches,
        np.array(names, object),
        np.zeros(touches.size, np.int64),
        np.ones(len(paths)),
    )


def split(journeys, values):
    """A per-touch array as one list per journey."""
    return [v.tolist() for v in np.split(np.asarray(values), journeys.offsets[1:-1])][: len(journeys)]
