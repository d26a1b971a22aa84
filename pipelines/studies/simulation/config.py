"""The market's configuration: one YAML file, frozen, unknown keys are errors. docs/simulation.md has the formulas."""

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydantic

from features.frozen import Frozen, Name
from pipelines.core.config_file import ConfigFile

_NAME = r"^[a-z][a-z0-9_]*$"
_MORNING = (0.5, 0.3, 0.2, 0.15, 0.15, 0.25, 0.5, 0.8, 1.0, 1.1, 1.1, 1.1)
_AFTERNOON = (1.2, 1.2, 1.1, 1.1, 1.1, 1.2, 1.4, 1.7, 1.9, 1.9, 1.5, 0.9)
_Shares = tuple[pydantic.NonNegativeFloat, ...]


class Industry(Frozen):
    """One industry: how long its buyers consider, and how readily they buy.

    Attributes:
        name: of the industry.
        share: of the clicks of the mean user, relative to the other industries'.
        clicks_per_interest: m, mean clicks that one interest of a user in a product leads to.
        interest_hours: δ, an interest fades by 1/e in so many hours; clicks and base conversions with it.
        carry_over_hours: τ, a click's effect fades by 1/e in so many hours.
        conversions_per_click: c, mean conversions that a click of effect 1, quality 1 and match 0 causes in all.
        conversions_per_interest: b, mean conversions that an interest leads to without any ad, at match 0.
        price: median price of its products.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    clicks_per_interest: float = pydantic.Field(gt=0)
    interest_hours: float = pydantic.Field(gt=0)
    carry_over_hours: float = pydantic.Field(gt=0)
    conversions_per_click: float = pydantic.Field(gt=0)
    conversions_per_interest: float = pydantic.Field(ge=0)
    price: float = pydantic.Field(gt=0)


class Channel(Frozen):
    """One type of campaign; each product has a campaign of each.

    Attributes:
        name: of the channel.
        share: weight among the channels of a click.
        effect: ε, multiplies the conversions that a click causes.
        intent_exponent: γ, its weight is `share` · (the base intent behind the click)^γ: above 0, people who buy anyway
            click more of it, which is what confounds attribution.
        retargets: only seen by users who have clicked an ad of the product before.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    effect: float = pydantic.Field(ge=0)
    intent_exponent: float = 0.0
    retargets: bool = False


class UserGroup(Frozen):
    """A group of users.

    Attributes:
        name: of the group.
        share: of the users that are no bots, relative to the other groups'.
        activity: clicks relative to the other groups'.
        base_intent: multiplies conversions without ads.
    """

    name: str = pydantic.Field(pattern=_NAME)
    share: float = pydantic.Field(gt=0)
    activity: float = pydantic.Field(gt=0)
    base_intent: float = pydantic.Field(ge=0)


class Bots(Frozen):
    """Machines that click ads of random products at random times and never buy.

    Attributes:
        share_of_users: how many of the users are bots.
        share_of_clicks: how many of the clicks are theirs.
    """

    share_of_users: float = pydantic.Field(0.005, ge=0, lt=1)
    share_of_clicks: float = pydantic.Field(0.05, ge=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _both_or_none(self):
        if (self.share_of_users == 0) != (self.share_of_clicks == 0):
            raise ValueError("share_of_users and share_of_clicks must both be 0, for no bots, or both above")
        return self


class MarketConfig(ConfigFile):
    """Everything about a market.

    An industry, channel or group with `count: n` stands for n of them, called `<name>_0` and so on; a key with a pair of numbers
    goes evenly from the first to the second over them: `{name: placement, count: 400, intent_exponent: [-1, 1], …}`.

    Attributes:
        name: of the market, and of the run that its `config.yaml` describes.
        seed: of all draws.
        users: how many users there will have been by the end, bots included.
        clicks: expected rows of the click log, bots' included.
        days: length of both logs.
        start: first day, from midnight UTC.
        daily_logs: whether the two logs have files of their own for each day, `clicks-<date>-*.parquet`.
        window_hours: W, the label window of the truth and of `config.yaml`; the last W of clicks are immature.
        eval_days: length of the evaluation split, the last mature clicks.
        present_at_start: share of the users who are there from the start; the others arrive evenly over time.
        industries: at least one.
        channels: at least one that does not retarget.
        groups: of users, besides bots.
        bots: how many bots.
        products_per_industry: products of each industry.
        products_per_advertiser: neighbouring products of one advertiser.
        ads_per_campaign: ads that run at a time in each campaign.
        ad_lifetime_days: an ad is replaced by a new one after so long.
        dimensions: of the latent vectors of users, industries, products and ads.
        product_spread: how far products lie from their industry's vector (standard deviation of the added noise).
        ad_spread: how far an ad's picture and text lie from its product's vector.
        taste: κ_choice, how strongly the match with their interests decides what users turn to.
        match_effect: κ, conversions are multiplied by exp(κ · match), match = the cosine of the user's and the ad's
            (without ads: the product's) vector.
        quality_spread: standard deviation of the logarithm of ads' quality, whose mean is 1.
        intent_spread: standard deviation of the logarithm of users' base intent within their group, whose mean is 1.
        interest_intent_spread: standard deviation of the logarithm of what the base intent of a user is multiplied by in each
            interest, whose mean is 1; by default a user's intent is the same in all of them.
        ad_intent_spread: standard deviation of the ads' own γ: which ad of a campaign is clicked tells of the intent, as the
            channel does.
        fatigue: φ, a click's effect is multiplied by φ for each earlier click of the user on the same campaign.
        interest_period_days: users' vectors turn once around in so many days: their interests drift.
        hours: relative rate of everything users do, by hour of the day (UTC).
        weekdays: the same by day of the week, from Monday.
        similarities: how many of the user's last clicked ads the similarities compare with.
    """

    name: Name = "market"
    seed: int = pydantic.Field(17, ge=0)
    users: int = pydantic.Field(ge=1)
    clicks: int = pydantic.Field(ge=1)
    days: int = pydantic.Field(28, ge=1)
    start: datetime.date = datetime.date(2024, 1, 1)
    daily_logs: bool = False
    window_hours: float = pydantic.Field(168, gt=0)
    eval_days: float = pydantic.Field(1, gt=0)
    present_at_start: float = pydantic.Field(0.6, ge=0, le=1)
    industries: tuple[Industry, ...] = pydantic.Field(min_length=1)
    channels: tuple[Channel, ...] = pydantic.Field(min_length=1)
    groups: tuple[UserGroup, ...] = pydantic.Field(min_length=1)
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
    def _counted(cls, entries: Any) -> Any:
        return [one for entry in entries for one in _alike(entry)] if isinstance(entries, list | tuple) else entries

    @pydantic.field_validator("industries", "channels", "groups")
    @classmethod
    def _names_differ(cls, entries):
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError(f"names must differ, found: {', '.join(names)}")
        return entries

    @pydantic.model_validator(mode="after")
    def _possible(self):
        if all(channel.retargets for channel in self.channels):
            raise ValueError("channels: at least one must not retarget, or nobody would ever click")
        if not (sum(self.hours) > 0 and sum(self.weekdays) > 0):
            raise ValueError("hours and weekdays: at least one of each must be above 0")
        if self.eval_from_day <= 0:
            raise ValueError(
                f"days: {self.days} days leave no training clicks before {self.eval_days:g} days of evaluation and a "
                f"window of {self.window_hours:g} hours"
            )
        return self

    @property
    def start_time(self) -> int:
        """First second of the logs, since 1970."""
        return int(datetime.datetime.combine(self.start, datetime.time(), datetime.timezone.utc).timestamp())

    @property
    def eval_from_day(self) -> float:
        """Days from the start to the evaluation split."""
        return self.days - self.window_hours / 24 - self.eval_days


def _alike(entry: Any) -> Iterator[Any]:
    """The entries that one with a `count` stands for."""
    if not isinstance(entry, dict) or "count" not in entry:
        yield entry
        return
    fields = {key: value for key, value in entry.items() if key != "count"}
    count = entry["count"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"count: expected a whole number from 1, found {count}")
    ranges = {key: np.linspace(value[0], value[1], count) for key, value in fields.items() if _is_range(value)}
    for number in range(count):
        values = {key: float(of_each[number]) for key, of_each in ranges.items()}
        named = {"name": f"{fields['name']}_{number:0{len(str(count - 1))}d}"} if "name" in fields else {}
        yield fields | values | named


def _is_range(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value)


load = MarketConfig.load
