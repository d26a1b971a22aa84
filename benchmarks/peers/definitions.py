"""Rules of tools that can't be run here, written anew from their definitions: channel totals of journeys.

- fractribution (Google, 2020): a path's touches share its conversions in proportion to p(path) − p(path without the touch), where
  p is the share of converting journeys among those of exactly that path, and 0 if the log lacks it. Negative differences
  are 0; without any positive one the last touch takes all. Consecutive repeats count once.
- Snowplow's dbt attribution: first, last, linear and position (0.4, 0.4, rest) in SQL, over paths whose consecutive repeats count
  once (`exposure_path`, the default of `snowplow__path_transforms`).
- GA4, paid and organic last click: the last touch that is not direct, or direct if the whole path is.
- W3C Attribution Level 1: the latest impressions take credit in the ratio of a list of numbers, cut to the number of impressions.
  Here in expectation; the browser rounds the credit of each conversion to whole units at random.
"""

import collections
import itertools
from collections.abc import Callable

import duckdb
import pandas as pd

#: Weights of one conversion's touches, from an SQL view with `place` from 1 and `n`, the path's length.
SNOWPLOW = {
    "first": "place = 1",
    "last": "place = n",
    "linear": "1 / n",
    "position": "case when n <= 2 then 1 / n when place in (1, n) then 0.4 else 0.2 / (n - 2) end",
}


def exposures(path: list[str]) -> tuple[str, ...]:
    """The path with consecutive repeats once."""
    return tuple(channel for channel, _ in itertools.groupby(path))


def fractribution(converting: list, other: list) -> dict:
    """Channel totals by p(path) − p(path without the touch)."""
    plus = collections.Counter(exposures(journey["path"]) for journey in converting)
    minus = collections.Counter(exposures(journey["path"]) for journey in other)

    def probability(path):
        number = plus[path] + minus[path]
        return plus[path] / number if number else 0.0

    totals = collections.Counter()
    for path, conversions in plus.items():
        without = [path[:i] + path[i + 1 :] for i in range(len(path))]
        lost = [max(probability(path) - probability(rest), 0.0) for rest in without] if len(path) > 1 else [1.0]
        if not any(lost):
            lost[-1] = 1.0
        for channel, share in zip(path, lost, strict=True):
            totals[channel] += conversions * share / sum(lost)
    return dict(totals)


def snowplow(converting: list, weight: str) -> dict:
    """Channel totals by a weight in SQL."""
    rows = [
        (channel, place, len(path))
        for path in (exposures(journey["path"]) for journey in converting)
        for place, channel in enumerate(path, 1)
    ]
    touches = pd.DataFrame(rows, columns=["channel", "place", "n"])  # noqa: F841, read by name in the query
    query = f"select channel, sum(cast({weight} as double)) as credit from touches group by channel"
    return dict(duckdb.sql(query).fetchall())


def last_non_direct(path: list[str]) -> dict:
    """GA4's paid and organic last click."""
    others = [channel for channel in path if channel != "direct"]
    return {(others or path)[-1]: 1.0}


def latest(path: list[str], credit: list[float]) -> dict:
    """W3C's credit list, which begins with the latest impression."""
    taken = list(zip(reversed(path), credit, strict=False))
    totals = collections.Counter()
    for channel, share in taken:
        totals[channel] += share / sum(share for _, share in taken)
    return totals


def summed(converting: list, rule: Callable[[list[str]], dict]) -> dict:
    """Channel totals of a rule for one path."""
    totals = collections.Counter()
    for journey in converting:
        totals.update(rule(journey["path"]))
    return dict(totals)


def mechanisms(converting: list, other: list) -> dict:
    """Mechanisms by tool."""
    longest = max(len(journey["path"]) for journey in converting)
    return {
        "fractribution": {"shapley": lambda: fractribution(converting, other)},
        "Snowplow dbt attribution": {
            name: lambda weight=weight: snowplow(converting, weight) for name, weight in SNOWPLOW.items()
        },
        "GA4": {"last": lambda: summed(converting, last_non_direct)},
        "W3C Attribution Level 1": {
            "last": lambda: summed(converting, lambda path: latest(path, [1.0])),
            "linear": lambda: summed(converting, lambda path: latest(path, [1.0] * longest)),
            "linear of three": lambda: summed(converting, lambda path: latest(path, [1.0] * 3)),
        },
    }
