"""The configuration of a simulated market, one YAML file. docs/simulation.md has the formulas."""

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pydantic

from features.frozen import NAMES_DIFFER, NOT_EMPTY, Day, Frozen, Hours, Name
from pipelines.core.config_file import ConfigFile

_NAME = r"^[a-z][a-z0-9_]*$"
_MORNING = (0.5, 0.3, 0.2, 0.15, 0.15, 0.25, 0.5, 0.8, 1.0, 1.1, 1.1, 1.1)
_AFTERNOON = (1.2, 1.2, 1.1, 1.1, 1.1, 1.2, 1.4, 1.7, 1.9, 1.9, 1.5, 0.9)
_Shares = tuple[pydantic.NonNegativeFloat, ...]


class Industry(Frozen):
    """An industry, with how long its buyers consider a product and how readily they buy.

    Attributes:
        name: name of the industry.
        share: share of the clicks of the mean user, relative to the other industries' shares.
        clicks_per_interest: m, mean number of clicks that one interest of a user in a product leads to.
        interest_hours: δ, hours in which an interest, and with it its clicks and base conversions, decays to 1/e.
        carry_over_hours: τ, hours in which a click's effect decays to 1/e.
        conversions_per_click: c, mean number of conversions that a click of effect 1, quality 1 and match 0 causes in all.
        conversions_per_interest: b, mean number of conversions that an interest leads to without any ad, at match 0.
        price: median price of its products.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    clicks_per_interest: float = pydantic.Field(gt=0)
    interest_hours: Hours
    carry_over_hours: Hours
    conversions_per_click: float = pydantic.Field(gt=0)
    conversions_per_interest: float = pydantic.Field(ge=0)
    price: float = pydantic.Field(gt=0)


class Channel(Frozen):
    """A channel, of which each product has one campaign.

    Attributes:
        name: name of the channel.
        share: weight of the channel when a click's channel is drawn.
        effect: ε, factor on the conversions that a click causes.
        intent_exponent: γ, the channel's weight is `share` · (the base intent behind the click)^γ. Above 0, users who buy
            anyway click on it more often, which confounds attribution.
        retargets: whether only users who have clicked an ad of the product before see it.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    effect: float = pydantic.Field(ge=0)
    intent_exponent: float = 0.0
    retargets: bool = False


class UserGroup(Frozen):
    """A group of users.

    Attributes:
        name: name of the group.
        share: share of the users that are not bots, relative to the other groups' shares.
        activity: mean number of clicks per user, relative to the other groups'.
        base_intent: factor on the conversions without ads.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    activity: float = pydantic.Field(gt=0)
    base_intent: float = pydantic.Field(ge=0)


class Bots(Frozen):
    """Bots, which click ads of random products at random times and never buy.

    Attributes:
        share_of_users: share of the users that are bots.
        share_of_clicks: share of the clicks that are theirs.
    """

    share_of_users: float = pydantic.Field(0.005, ge=0, lt=1)
    share_of_clicks: float = pydantic.Field(0.05, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _both_or_none(self):
        if (self.share_of_users == 0) != (self.share_of_clicks == 0):
            raise ValueError("share_of_users and share_of_clicks: expected both 0, for no bots, or both above 0")
        return self


class MarketConfig(ConfigFile):
    """The configuration of a simulated market.

    An industry, channel or group with `count: n` stands for n of them, named `<name>_0` and so on; a key with a pair of numbers
    goes evenly from the first to the second over them: `{name: placement, count: 400, intent_exponent: [-1, 1], …}`.

    Attributes:
        name: name of the market, and of the run that its `config.yaml` describes.
        seed: seed of all random draws.
        users: number of users until the end, including bots.
        clicks: expected number of rows of the click log, including those of bots.
        days: length of both logs.
        start: first day, from midnight UTC.
        daily_logs: whether the two logs have separate files for each day, `clicks-<date>-*.parquet`.
        window_hours: W, the label window of the truth and of `config.yaml`; clicks of the last W hours are immature.
        eval_days: length of the evaluation split, the last mature clicks.
        gap_days: days before the evaluation split whose clicks are in no split. With a window of them, no training label tells of
            a conversion on evaluated days.
        present_at_start: share of the users who are there from the start; the others arrive evenly over time.
        industries: industries, at least one.
        channels: channels, at least one of them without `retargets`.
        groups: groups of users, besides bots.
        bots: shares of bots in users and clicks.
        products_per_industry: number of products of each industry.
        products_per_advertiser: number of neighbouring products of one advertiser.
        ads_per_campaign: number of ads that run at the same time in each campaign.
        ad_lifetime_days: days after which an ad is replaced by a new one.
        dimensions: dimensions of the latent vectors of users, industries, products and ads.
        product_spread: distance of products from their industry's vector (standard deviation of the added noise).
        ad_spread: distance of an ad's picture and text from its product's vector (the same).
        taste: κ_choice, how strongly users choose by the match with their interests.
        match_effect: κ, conversions are multiplied by exp(κ · match), where match is the cosine of the user's vector and the
            ad's (without ads: the product's).
        quality_spread: standard deviation of the logarithm of ads' quality, whose mean is 1.
        intent_spread: standard deviation of the logarithm of users' base intent within their group, whose mean is 1.
        interest_intent_spread: standard deviation of the logarithm of the factor on a user's base intent in each interest,
            whose mean is 1; by default a user's intent is the same in all interests.
        ad_intent_spread: standard deviation of the ads' own γ, by which the clicked ad of a campaign depends on the intent,
            as the channel does.
        fatigue: φ, a click's effect is multiplied by φ for each earlier click of the user on the same campaign.
        interest_period_days: days in which users' vectors rotate once, so that their interests drift.
        hours: relative rate of all user activity, by hour of the day (UTC).
        weekdays: relative rate of all user activity, by day of the week, from Monday.
        similarities: number of the user's last clicked ads that the similarities compare with.
    """

    name: Name = "market"
    seed: int = pydantic.Field(17, ge=0)
    users: int = pydantic.Field(ge=1)
    clicks: int = pydantic.Field(ge=1)
    days: int = pydantic.Field(28, ge=1)
    start: Day = datetime.date(2024, 1, 1)
    daily_logs: bool = False
    window_hours: Hours = 168
    eval_days: float = pydantic.Field(1, gt=0)
    gap_days: int = pydantic.Field(0, ge=0)
    present_at_start: float = pydantic.Field(0.6, ge=0, le=1)
    industries: Annotated[tuple[Industry, ...], NOT_EMPTY, NAMES_DIFFER]
    channels: Annotated[tuple[Channel, ...], NOT_EMPTY, NAMES_DIFFER]
    groups: Annotated[tuple[UserGroup, ...], NOT_EMPTY, NAMES_DIFFER]
    bots: Bots = Bots()
    products_per_industry: int = pydantic.Field(60, ge=1)
    products_per_advertiser: int = pydantic.Field(3, ge=1)
    ads_per_campaign: int = pydantic.Field(2, ge=1)
    ad_lifetime_days: float = pydantic.Field(10, gt=0)
    dimensions: int = pydantic.Field(8, ge=2)
    product_spread: float = pydantic.Field(0.7, ge=0)
    ad_spread: float = pydantic.Field(0.7, ge=0)
    taste: float = pydantic.Field(2.0, ge=0)
    match_effect: float = pydantic.Field(1.0, ge=0)
    quality_spread: float = pydantic.Field(0.5, ge=0)
    intent_spread: float = pydantic.Field(0.7, ge=0)
    interest_intent_spread: float = pydantic.Field(0.0, ge=0)
    ad_intent_spread: float = pydantic.Field(0.0, ge=0)
    fatigue: float = pydantic.Field(0.8, gt=0, le=1)
    interest_period_days: float = pydantic.Field(120, gt=0)
    hours: _Shares = pydantic.Field((*_MORNING, *_AFTERNOON), min_length=24, max_length=24)
    weekdays: _Shares = pydantic.Field((0.95, 0.95, 0.95, 1.0, 1.0, 1.1, 1.2), min_length=7, max_length=7)
    similarities: int = pydantic.Field(20, ge=1)

    @pydantic.field_validator("industries", "channels", "groups", mode="before")
    @classmethod
    def _expand_counts(cls, entries: Any) -> Any:
        return [one for entry in entries for one in _expand(entry)] if isinstance(entries, list | tuple) else entries

    @pydantic.model_validator(mode="after")
    def _is_possible(self):
        if all(channel.retargets for channel in self.channels):
            raise ValueError(
                "channels: expected at least one that does not retarget, as otherwise no user would ever click"
            )
        if not (sum(self.hours) > 0 and sum(self.weekdays) > 0):
            raise ValueError("hours and weekdays: expected at least one value of each above 0")
        if self.eval_from_day <= self.gap_days:
            gap = f"a gap of {self.gap_days} days, " if self.gap_days else ""
            raise ValueError(
                f"days: {self.days} days leave no training clicks before {gap}{self.eval_days:g} days of evaluation and a "
                f"window of {self.window_hours:g} hours"
            )
        if self.gap_days and self.eval_from_day % 1:
            raise ValueError(
                f"gap_days: expected an evaluation split that begins at midnight, found one from day {self.eval_from_day:g}; "
                "change eval_days or window_hours"
            )
        return self

    @property
    def start_time(self) -> int:
        """Start of the logs in seconds since 1970."""
        return int(datetime.datetime.combine(self.start, datetime.time(), datetime.timezone.utc).timestamp())

    @property
    def eval_from_day(self) -> float:
        """Days from the start of the logs to that of the evaluation split."""
        return self.days - self.window_hours / 24 - self.eval_days

    @property
    def gap(self) -> list[datetime.date]:
        """The days of the gap before the evaluation split."""
        first = self.start + datetime.timedelta(self.eval_from_day - self.gap_days)
        return [first + datetime.timedelta(day) for day in range(self.gap_days)]


def _expand(entry: Any) -> Iterator[Any]:
    """Yields the entries that an entry with a `count` stands for."""
    if not isinstance(entry, dict) or "count" not in entry:
        yield entry
        return
    fields = {key: value for key, value in entry.items() if key != "count"}
    count = entry["count"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"count: expected a whole number from 1, found {count}")
    ranges = {key: np.linspace(value[0], value[1], count) for key, value in fields.items() if _is_range(value)}
    for number in range(count):
        values = {key: float(steps[number]) for key, steps in ranges.items()}
        name = {"name": f"{fields['name']}_{number:0{len(str(count - 1))}d}"} if "name" in fields else {}
        yield fields | values | name


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value)


load = MarketConfig.load
