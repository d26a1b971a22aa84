"""Simulation of a block of users, with their interests, clicks and conversions, vectorized over users."""

import dataclasses

import numpy as np

from features.time_units import SECONDS_PER_DAY
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.world import World, unit

#: Expected clicks per block. Blocks are simulated independently, so that memory does not grow with the market.
CLICKS_PER_BLOCK = 50_000
AGES = 5
CITIES = 50


@dataclasses.dataclass(frozen=True)
class Users:
    """N users of a block.

    Attributes:
        group: int64 [N], code of the configured group; the last code is that of bots.
        arrival: float64 [N], time of arrival in seconds.
        activity: float64 [N], clicks relative to the mean user; 0 for bots, whose clicks are drawn separately.
        intent: float64 [N], base intent B, a factor of conversions without ads.
        first, second: float32 [N, d], vectors between which the interests rotate.
        period: time of a full turn in seconds.
        age, city: int64 [N]; age correlates with the interests, city with nothing.
        member: bool [N], whether the user is in a loyalty scheme, with probability B / (1 + B).
    """

    group: np.ndarray
    arrival: np.ndarray
    activity: np.ndarray
    intent: np.ndarray
    first: np.ndarray
    second: np.ndarray
    period: float
    age: np.ndarray
    city: np.ndarray
    member: np.ndarray

    def interests(self, user: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Returns unit vectors of the users' interests at given times, float32 [K, d]."""
        angle = (2 * np.pi / self.period * time).astype(np.float32)[:, None]
        return unit(np.cos(angle) * self.first[user] + np.sin(angle) * self.second[user])


@dataclasses.dataclass(frozen=True)
class Interests:
    """Interests of users in products, which lead to clicks and to conversions without ads, sorted by user, product and time.

    Attributes:
        user, product: int64 [E].
        time: int64 [E], start in seconds.
        intent: float64 [E], base intent.
        mean: float64 [E], mean number of conversions without ads if s = 1 throughout.
    """

    user: np.ndarray
    product: np.ndarray
    time: np.ndarray
    intent: np.ndarray
    mean: np.ndarray


@dataclasses.dataclass(frozen=True)
class Clicks:
    """Clicks, sorted by user, product and time.

    Attributes:
        user, product, channel, ad: int64 [C].
        time: int64 [C], seconds.
        mean: float64 [C], a, mean number of conversions that the click causes if s = 1 throughout.
    """

    user: np.ndarray
    product: np.ndarray
    channel: np.ndarray
    ad: np.ndarray
    time: np.ndarray
    mean: np.ndarray


@dataclasses.dataclass(frozen=True)
class Conversions:
    """Conversions, sorted by user, product and time.

    Attributes:
        user, product: int64 [J].
        time: float64 [J], seconds.
        click: int64 [J], index of the click that caused it, or −1.
        interest: int64 [J], index of the interest that caused it, or −1 if a click did.
        value: float64 [J], value of the order.
    """

    user: np.ndarray
    product: np.ndarray
    time: np.ndarray
    click: np.ndarray
    interest: np.ndarray
    value: np.ndarray


@dataclasses.dataclass(frozen=True)
class Block:
    """The users of a block and their events."""

    users: Users
    interests: Interests
    clicks: Clicks
    conversions: Conversions


def users_per_block(config: MarketConfig) -> int:
    """Returns the number of users of a block; the last block may have fewer."""
    return max(CLICKS_PER_BLOCK * config.users // config.clicks, 1)


def simulate(config: MarketConfig, world: World, index: int) -> Block:
    """Simulates block number `index`. The result depends only on the config and the index."""
    random = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(1, index)))
    size = users_per_block(config)
    users = _users(config, world, random, min(size, config.users - index * size))
    interests = _interests(config, world, random, users)
    clicks = _clicks(config, world, random, users, interests)
    return Block(users, interests, clicks, _conversions(world, random, interests, clicks))


def _users(config: MarketConfig, world: World, random: np.random.Generator, size: int) -> Users:
    groups, bots = config.groups, config.bots.share_of_users
    shares = np.array([g.share for g in groups]) / sum(g.share for g in groups)
    group = random.choice(len(groups) + 1, size, p=[*(shares * (1 - bots)), bots])
    activity = np.array([*(g.activity for g in groups), 0.0])
    activity /= shares @ activity[:-1]
    base = np.array([*(g.base_intent for g in groups), 1.0])
    spread, shape = config.intent_spread, (size, config.dimensions)
    intent = base[group] * random.lognormal(-spread * spread / 2, spread, size)
    first = unit(random.standard_normal(shape))
    angle = np.arctan2(first[:, 1], first[:, 0]) / (2 * np.pi) + 0.5
    return Users(
        group=group,
        arrival=np.where(random.random(size) < config.present_at_start, 0.0, random.random(size) * world.end),
        activity=activity[group] * random.standard_exponential(size),
        intent=intent,
        first=first,
        second=unit(random.standard_normal(shape)),
        period=config.interest_period_days * SECONDS_PER_DAY,
        age=((angle + 0.1 * random.standard_normal(size)) * AGES).astype(np.int64) % AGES,
        city=(CITIES * random.random(size) ** 2).astype(np.int64),
        member=random.random(size) < intent / (1 + intent),
    )


def _interests(config: MarketConfig, world: World, random: np.random.Generator, users: Users) -> Interests:
    rate = users.activity * world.click_rate * world.proposals_per_click
    user = np.repeat(np.arange(rate.size), random.poisson(rate * (world.end - users.arrival)))
    time = users.arrival[user] + random.random(user.size) * (world.end - users.arrival[user])
    taste = config.taste * users.interests(user, time)
    shares = np.log([i.share for i in config.industries])
    industry = _choose(random, shares + taste @ world.industry_vectors.T)
    keep = random.random(user.size) < world.accept[industry]
    user, time, taste, industry = user[keep], time[keep], taste[keep], industry[keep]
    product = np.zeros(user.size, np.int64)
    for code in range(len(config.industries)):
        of_interest, of_product = industry == code, world.product_industry == code
        scores = np.log(world.popularity[of_product]) + taste[of_interest] @ world.product_vectors[of_product].T
        product[of_interest] = np.flatnonzero(of_product)[_choose(random, scores)]
    time = time.astype(np.int64)
    order = np.lexsort((time, product, user))
    user, product, time, industry = user[order], product[order], time[order], industry[order]
    match = np.einsum("ij,ij->i", users.interests(user, time), world.product_vectors[product])
    base = np.array([i.conversions_per_interest for i in config.industries])[industry]
    intent, spread = users.intent[user], config.interest_intent_spread
    if spread:
        intent = intent * random.lognormal(-spread * spread / 2, spread, user.size)
    return Interests(user, product, time, intent, base * intent * np.exp(config.match_effect * match))


def _clicks(
    config: MarketConfig, world: World, random: np.random.Generator, users: Users, interests: Interests
) -> Clicks:
    industry = world.product_industry[interests.product]
    mean = np.array([i.clicks_per_interest for i in config.industries])[industry]
    parent, time = world.season.points(random, interests.time, mean, world.interest[industry], world.end)
    bots = users.group == len(config.groups)
    bot = np.repeat(np.flatnonzero(bots), random.poisson(world.clicks_per_bot, bots.sum()))
    user = np.append(interests.user[parent], bot)
    product = np.append(interests.product[parent], random.integers(world.product_industry.size, size=bot.size))
    idle = world.end - users.arrival[bot]
    time = np.append(time, users.arrival[bot] + idle * random.random(bot.size)).astype(np.int64)
    intent = np.append(interests.intent[parent], users.intent[bot])
    order = np.lexsort((time, product, user))
    user, product, time, intent = user[order], product[order], time[order], np.maximum(intent[order], 1e-9)

    repeated = _rank(user, product) > 0
    weights = np.log([c.share for c in config.channels]) + np.outer(
        np.log(intent), [c.intent_exponent for c in config.channels]
    )
    retargets = np.array([c.retargets for c in config.channels])
    channel = _choose(random, np.where(retargets & ~repeated[:, None], -np.inf, weights))
    campaign = product * len(config.channels) + channel
    running, interest = world.ad(campaign, time), users.interests(user, time)
    match = np.einsum("isj,ij->is", world.pictures[running], interest)
    slot = _choose(random, config.taste * match + world.intent_exponent[running] * np.log(intent)[:, None])[:, None]
    ad, match = (np.take_along_axis(a, slot, axis=1)[:, 0] for a in (running, match))
    by_industry = np.array([i.conversions_per_click for i in config.industries])[world.product_industry[product]]
    effect = by_industry * np.array([c.effect for c in config.channels])[channel] * world.quality[ad]
    mean = effect * np.exp(config.match_effect * match) * config.fatigue ** _rank(user, campaign)
    return Clicks(user, product, channel, ad, time, np.where(bots[user], 0.0, mean))


def _conversions(world: World, random: np.random.Generator, interests: Interests, clicks: Clicks) -> Conversions:
    parts = []
    for parents, decays in ((clicks, world.carry_over), (interests, world.interest)):
        decay = decays[world.product_industry[parents.product]]
        parts.append(world.season.points(random, parents.time, parents.mean, decay, world.end))
    (click, caused), (interest, unprompted) = parts
    user = np.append(clicks.user[click], interests.user[interest])
    product = np.append(clicks.product[click], interests.product[interest])
    time = np.append(caused, unprompted)
    click = np.append(click, np.full(interest.size, -1))
    interest = np.append(np.full(caused.size, -1), interest)
    value = (world.price[product] * random.lognormal(0, 0.3, product.size)).round(2)
    order = np.lexsort((time, product, user))
    return Conversions(*(column[order] for column in (user, product, time, click, interest, value)))


def _choose(random: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """Draws a column for each row with probability ∝ exp(score), int64 [N]."""
    return np.argmax(scores + random.gumbel(size=scores.shape), axis=1)


def _rank(*columns: np.ndarray) -> np.ndarray:
    """Counts, for each row, the earlier rows that agree in all columns, int64 [N]."""
    order = np.lexsort(columns)
    new = np.ones(order.size, bool)
    new[1:] = np.any([np.diff(column[order]) != 0 for column in columns], axis=0)
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size) - np.maximum.accumulate(np.where(new, np.arange(order.size), 0))
    return rank
