"""Tables of a simulated block in time order, which are the click and conversion logs and the truth about each."""

import numpy as np
import pyarrow as pa

from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from pipelines.studies.simulation.block import CITIES, Block
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.truth import Truth, similarities, truth
from pipelines.studies.simulation.world import World

#: Factor of ids, which are the number of the block times this constant, plus the index in the block's table.
BLOCK = 1_000_000_000

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def tables(config: MarketConfig, world: World, index: int, first_user: int, block: Block) -> dict[str, pa.Table]:
    """Builds the tables `clicks`, `conversions`, `truth-clicks` and `truth-conversions` of a block.

    A truth table has the rows of its log in the same order.

    Args:
        config: config of the market.
        world: the market without its users.
        index: number of the block.
        first_user: id of the first user of the block.
        block: the events of the block.
    """
    facts = truth(world, block, config.window_hours * SECONDS_PER_HOUR)
    click_order = np.argsort(block.clicks.time, kind="stable")
    order = np.argsort(block.conversions.time, kind="stable")
    click_id = np.empty(click_order.size, np.int64)
    click_id[click_order] = index * BLOCK + np.arange(click_order.size)
    conversion_id = np.empty(order.size, np.int64)
    conversion_id[order] = index * BLOCK + np.arange(order.size)
    clicks, truth_clicks = _clicks(config, world, block, facts, click_id, first_user)
    conversions, truth_conversions = _conversions(config, block, facts, click_id, conversion_id, first_user)
    return {
        "clicks": clicks.take(click_order),
        "conversions": conversions.take(order),
        "truth-clicks": truth_clicks.take(click_order),
        "truth-conversions": truth_conversions.take(order),
    }


def _clicks(
    config: MarketConfig, world: World, block: Block, facts: Truth, click_id: np.ndarray, first_user: int
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
    truth_columns = {
        "click_id": click_id,
        "user_group": _names(group, [*groups, "bot"]),
        "bot": group == len(groups),
        "base_intent": users.intent[clicks.user],
        "industry": log["industry"],
        "channel": log["channel"],
        "hazard_per_hour": facts.hazard * SECONDS_PER_HOUR,
        "carry_over_hours": world.carry_over[industry] / SECONDS_PER_HOUR,
        "expected_credit": facts.expected_credit,
        "p_caused": facts.p_caused,
        "p_conversion": facts.p_conversion,
        "credit": facts.credit,
        "credit_any_time": facts.credit_any_time,
        "credit_among_ads": facts.credit_among_ads,
        "caused": facts.caused,
        "picture_similarities": _lists(*pictures[:2]),
        "text_similarities": _lists(*texts[:2]),
    }
    return pa.table(log), pa.table(truth_columns)


def _conversions(
    config: MarketConfig, block: Block, facts: Truth, click_id: np.ndarray, conversion_id: np.ndarray, first_user: int
) -> tuple[pa.Table, pa.Table]:
    conversions, by_click = block.conversions, block.conversions.click >= 0
    products = 1 + int(np.max(conversions.product, initial=0))
    names = [f"p{product:04d}" for product in range(products)]
    advertisers = [f"a{product // config.products_per_advertiser:04d}" for product in range(products)]
    log = {
        "conversion_id": conversion_id,
        "user_id": first_user + conversions.user,
        "timestamp": config.start_time + np.floor(conversions.time).astype(np.int64),
        "product": _names(conversions.product, names),
        "advertiser": _names(conversions.product, advertisers),
        "value": conversions.value,
    }
    # Each conversion was caused by a click or by an interest; the index of the other one is −1.
    cause = np.zeros(conversions.user.size, np.int64)
    cause[by_click] = block.clicks.time[conversions.click[by_click]]
    cause[~by_click] = block.interests.time[conversions.interest[~by_click]]
    caused_by = np.zeros(conversions.user.size, np.int64)
    caused_by[by_click] = click_id[conversions.click[by_click]]
    truth_columns = {
        "conversion_id": conversion_id,
        "caused_by": pa.array(caused_by, mask=~by_click),
        "cause_timestamp": config.start_time + cause,
        "hazard_per_hour": facts.conversion_hazard * SECONDS_PER_HOUR,
        "ads_share": facts.ads_share,
    }
    return pa.table(log), pa.table(truth_columns)


def _names(codes: np.ndarray, names) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _numbers(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.float32()))
