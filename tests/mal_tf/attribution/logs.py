"""Hand-built journeys and random small logs."""

import json

import numpy as np
from hypothesis import strategies as st

from mal_tf.attribution.catalog import create
from mal_tf.attribution.journeys import JourneyRules, Journeys, converting_spans
from mal_tf.attribution.touches import Events, Touches
from mal_tf.attribution.touchpoints import Touchpoints

#: Clicks and conversions as (group, time); a click's position is its id.
LOG = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=14)
RULES = st.builds(
    JourneyRules, window=st.integers(0, 14), simultaneous=st.booleans(), reset_after_conversion=st.booleans()
)
PATHS = st.lists(st.lists(st.sampled_from("abcd"), max_size=5), max_size=8)


def events(log):
    group, time = np.array(log, np.int64).reshape(-1, 2).T
    return Events(group, time)


def touches(clicks, types=None, names="xyz", units_per_hour=1):
    """Touches of sorted clicks; click i of type i modulo 3 unless said otherwise; one time unit is an hour."""
    types = np.arange(len(clicks)) % 3 if types is None else np.asarray(types)
    confounders = np.zeros((len(clicks), 0), np.uint64)
    return Touches(events(clicks).time, types, Touchpoints(np.array(list(names), object)), confounders, units_per_hour)


def spans(clicks, conversions, rules):
    """Spans of sorted logs; every conversion is worth 1."""
    number = len(conversions)
    return converting_spans(
        events(clicks), events(conversions), rules, np.ones(number), np.arange(number, dtype=np.uint64)
    )


def build(clicks, conversions, rules):
    """Journeys of sorted logs, click i of type i modulo 3."""
    return spans(clicks, conversions, rules).journeys(touches(clicks))


def eligible(clicks, conversions, rules):
    """Oracle: the ids of each conversion's eligible clicks."""
    found = []
    for i, (group, end) in enumerate(conversions):
        earlier = [t for g, t in conversions[:i] if g == group and t < end]
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
    types = np.array([code[t] for p in paths for t in p], np.int64)
    offsets = np.cumsum([0, *map(len, paths)]).astype(np.int64)
    return Journeys(
        offsets,
        np.arange(types.size),
        types,
        np.array(names, object),
        np.zeros(types.size),
        np.ones(len(paths)),
        np.arange(len(paths), dtype=np.uint64),
        np.zeros((len(paths), 0), np.uint64),
    )


def split(journeys, values):
    """A per-touch array as one list per journey."""
    return [v.tolist() for v in np.split(np.asarray(values), journeys.offsets[1:-1])][: len(journeys)]


def fitted(kind, converting, other, **parameters):
    """A mechanism fitted on paths, its parameters through JSON."""
    mechanism = create(kind, parameters)
    statistics = mechanism.merge([mechanism.statistics(by_hand(converting), by_hand(other))])
    mechanism.load(json.loads(json.dumps(mechanism.fit(statistics))))
    return mechanism


def credits_of(mechanism, paths):
    """Credits of paths, one list per path."""
    journeys = by_hand(paths)
    return split(journeys, mechanism.credit(journeys))
