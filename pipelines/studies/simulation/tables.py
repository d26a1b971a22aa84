"""A block as the four tables that are written: the two logs and the truth beside them, in time order."""

import numpy as np
import pyarrow as pa

from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from pipelines.studies.simulation.block import CITIES, Block
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.truth import Truth, similarities, truth
from pipelines.studies.simulation.world import World

#: Ids are the block's number times this plus the place in the block's table.
BLOCK = 1_000_000_000

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def tables(config: MarketConfig, world: World, index: int, first_user: int, block: Block) -> dict[str, pa.Table]:
    """`clicks`, `conversions`, `truth-clicks` and `truth-conversions`; a truth has its log's rows in the same order."""
    known = truth(world, block, config.window_hours * SECONDS_PER_HOUR)
    click_order = np.argsort(block.clicks.time, kind="stable")
    order = np.argsort(block.conversions.time, kind="stable")
    click_id = np.empty(click_order.size, np.int64)
    click_id[click_order] = index * BLOCK + np.arange(click_order.size)
    conversion_id = np.empty(order.size, np.int64)
    conversion_id[order] = index * BLOCK + np.arange(order.size)
    clicks, truth_clicks = _clicks(config, world, block, known, click_id, first_user)
    conversions, truth_conversions = _conversions(config, block, known, click_id, conversion_id, first_user)
    return {
        "clicks": clicks.take(click_order),
        "conversions": conversions.take(order),
        "truth-clicks": truth_clicks.take(click_order),
        "truth-conversions": truth_conversions.take(order),
    }


def _clicks(
    config: MarketConfig, world: World, block: Block, known: Truth, click_id: np.ndarray, first_user: int
) -> tuple[pa.Table, pa.Table]:
    clicks, users, time = block.clicks, block.users, block.clicks.time
    industry = world.product_industry[clicks.product]
    channels, groups = ([entry.name for entry in entries] for entries in (config.channels, config.groups))
    campaign = clicks.product * len(channels) + clicks.channel
    campaigns = [f"p{product:04d}_{name}" for product in range(world.price.size) for name in channels]
    pictures, texts = (similarities(clicks, v, config.similarities) for v in (world.pictures, world.texts))
    weekday = (time // SECONDS_PER_DAY + config.start.weekday()) % 7
    log = {
        "click_id": click_id,
        "user_id": first_user + clicks.user,
        "timestamp": config.start_time + time,
        "product": _names(clicks.product, [f"p{product:04d}" for product in range(world.price.size)]),
        "advertiser": _names(
            clicks.product, [f"a{p // config.products_per_advertiser:04d}" for p in range(world.price.size)]
        ),
        "industry": _names(industry, [i.name for i in config.industries]),
        "channel": _names(clicks.channel, channels),
        "campaign": _names(campaign, campaigns),
        "ad": clicks.ad,
        "price": world.price[clicks.product].astype(np.float32),
        "hour": _names(time // SECONDS_PER_HOUR % 24, [f"{hour:02d}" for hour in range(24)]),
        "weekday": _names(weekday, WEEKDAYS),
        "age": users.age[clicks.user],
        "city": _names(users.city[clicks.user], [f"city_{city:02d}" for city in range(CITIES)]),
        "member": _names(users.member[clicks.user].astype(np.int64), ["no", "yes"]),
        "picture_similarity": _numbers(pictures[2]),
        "text_similarity": _numbers(texts[2]),
    }
    group = users.group[clicks.user]
    beside = {
        "click_id": click_id,
        "user_group": _names(group, [*groups, "bot"]),
        "bot": group == len(groups),
        "base_intent": users.intent[clicks.user],
        "industry": log["industry"],
        "channel": log["channel"],
        "hazard_per_hour": known.hazard * SECONDS_PER_HOUR,
        "carry_over_hours": world.carry_over[industry] / SECONDS_PER_HOUR,
        "expected_credit": known.expected_credit,
        "p_caused": known.p_caused,
        "p_conversion": known.p_conversion,
        "credit": known.credit,
        "credit_any_time": known.credit_any_time,
        "credit_among_ads": known.credit_among_ads,
        "caused": known.caused,
        "picture_similarities": _lists(*pictures[:2]),
        "text_similarities": _lists(*texts[:2]),
    }
    return pa.table(log), pa.table(beside)


def _conversions(
    config: MarketConfig, block: Block, known: Truth, click_id: np.ndarray, conversion_id: np.ndarray, first_user: int
) -> tuple[pa.Table, pa.Table]:
    found, by_click = block.conversions, block.conversions.click >= 0
    products = 1 + int(np.max(found.product, initial=0))
    names = [f"p{product:04d}" for product in range(products)]
    advertisers = [f"a{product // config.products_per_advertiser:04d}" for product in range(products)]
    log = {
        "conversion_id": conversion_id,
        "user_id": first_user + found.user,
        "timestamp": config.start_time + np.floor(found.time).astype(np.int64),
        "product": _names(found.product, names),
        "advertiser": _names(found.product, advertisers),
        "value": found.value,
    }
    # Where one array or the other is indexed by −1 the other one is taken; both may be empty.
    cause = np.zeros(found.user.size, np.int64)
    cause[by_click] = block.clicks.time[found.click[by_click]]
    cause[~by_click] = block.interests.time[found.interest[~by_click]]
    caused_by = np.zeros(found.user.size, np.int64)
    caused_by[by_click] = click_id[found.click[by_click]]
    beside = {
        "conversion_id": conversion_id,
        "caused_by": pa.array(caused_by, mask=~by_click),
        "cause_timestamp": config.start_time + cause,
        "hazard_per_hour": known.conversion_hazard * SECONDS_PER_HOUR,
        "ads_share": known.ads_share,
    }
    return pa.table(log), pa.table(beside)


def _names(codes: np.ndarray, names) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _numbers(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.float32()))
