"""A market whose truth is known: users see ads, each ad adds to the rate at which its user converts, users differ."""

import dataclasses

import numpy as np

from mal_tf.attribution.by_type import normalised
from mal_tf.attribution.journeys import JourneyRules, Journeys, converting_spans, other_spans
from mal_tf.attribution.touches import Events, Touches
from mal_tf.attribution.touchpoints import Touchpoints

TYPES = np.array(["display", "email", "retargeting", "search", "video"], object)
#: Conversions per hour that a touch adds at first, and the hours after which that is down to 1/e.
EFFECT = np.array([0.001, 0.0, 0.0, 0.008, 0.002])
DECAY = np.array([24.0, 24.0, 24.0, 12.0, 48.0])
#: By group, casual and loyal: conversions per hour without any ad, and the mix of types seen. Retargeting does nothing,
#: but is shown to the loyal, who buy anyway.
BASE = np.array([0.0001, 0.0006])
MIX = np.array([[0.30, 0.20, 0.05, 0.20, 0.25], [0.15, 0.15, 0.40, 0.15, 0.15]])
LOYAL_SHARE = 0.3
#: Touches per hour of the mean user; users' activity is exponentially distributed.
ACTIVITY = 0.008
HOURS, WINDOW = 672, 168


@dataclasses.dataclass(frozen=True)
class Market:
    """Journeys and the truth about them.

    Attributes:
        converting: journeys that led to a conversion; the confounder is the group.
        other: journeys that led to nothing.
        truth: float64 [T], credit of each touch of `converting`: its share of the rate that the journey's touches added
            to the user's own at the moment of conversion; 0 throughout where they added nothing. Rates add up, so the
            Shapley value, leave-one-out and the share of the rate are one and the same.
    """

    converting: Journeys
    other: Journeys
    truth: np.ndarray


def simulate(users: int, seed: int, confounder: bool = True) -> Market:
    """Simulates four weeks, hour by hour; users leave when they convert.

    Args:
        users: how many.
        seed: of all draws.
        confounder: whether the group shows among the journeys' confounders.
    """
    random = np.random.default_rng(seed)
    group = (random.random(users) < LOYAL_SHARE).astype(np.int64)
    activity = ACTIVITY * random.exponential(size=users)
    added, present = np.zeros((users, TYPES.size)), np.ones(users, bool)
    clicks, conversions = [], []
    for hour in range(HOURS):
        added *= np.exp(-1 / DECAY)
        seen = np.flatnonzero(present & (random.random(users) < activity))
        kind = (random.random(seen.size)[:, None] > np.cumsum(MIX[group[seen]], axis=1)[:, :-1]).sum(axis=1)
        added[seen, kind] += EFFECT[kind]
        clicks.append(np.stack([seen, np.full(seen.size, hour), kind]))
        bought = np.flatnonzero(present & (random.random(users) < -np.expm1(-BASE[group] - added.sum(axis=1))))
        conversions.append(np.stack([bought, np.full(bought.size, hour)]))
        present[bought] = False
    user, time, kind = _by_user(clicks)
    buyer, moment = _by_user(conversions)
    confounders = group[user].astype(np.uint64)[:, None] if confounder else np.zeros((user.size, 0), np.uint64)
    touches = Touches(time, kind, Touchpoints(TYPES), confounders, units_per_hour=1)
    log = Events(user, time)
    spans = converting_spans(
        log, Events(buyer, moment), JourneyRules(WINDOW), np.ones(buyer.size), _keys(random, buyer.size)
    )
    spans = spans.select(spans.length > 0)
    others = other_spans(log, spans.covered(user.size) | (time + WINDOW > HOURS), WINDOW)
    others = dataclasses.replace(others, key=_keys(random, others.key.size))
    converting = spans.journeys(touches)
    effect = EFFECT[converting.touchpoint] * np.exp(-converting.age / DECAY[converting.touchpoint])
    return Market(converting, others.journeys(touches), normalised(effect, converting, "none"))


def _by_user(hours: list[np.ndarray]) -> np.ndarray:
    events = np.concatenate(hours, axis=1)
    return events[:, np.argsort(events[0], kind="stable")]


def _keys(random: np.random.Generator, size: int) -> np.ndarray:
    return random.integers(2**63, size=size, dtype=np.uint64)
