"""The part of a market that all users share, which is industries, products, campaigns and ads with their latent vectors."""

import numpy as np

from features.time_units import SECONDS_PER_DAY, SECONDS_PER_HOUR
from pipelines.studies.simulation.config import MarketConfig
from pipelines.studies.simulation.season import Season


class World:
    """The market without its users.

    Codes are product = industry · products_per_industry + n and campaign = product · channels + channel; see `ad` for ads.

    Attributes:
        end: length of the logs, in seconds.
        season: activity by hour and weekday.
        interest: float64 [G], decay time δ of interests by industry, in seconds.
        carry_over: float64 [G], decay time τ of the effect of clicks by industry, in seconds.
        industry_vectors: float32 [G, d], of unit length like all vectors.
        product_vectors: float32 [P, d].
        product_industry: int64 [P], industry of each product.
        popularity: float64 [P], relative interest of users in a product at equal match.
        price: float64 [P].
        pictures: float32 [A, d], vectors of the pictures of ads.
        texts: float32 [A, d], vectors of the texts of ads.
        quality: float64 [A], quality of ads, of mean 1.
        intent_exponent: float64 [A], exponent γ of ads, with the same meaning as that of channels.
    """

    def __init__(self, config: MarketConfig):
        random = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(0,)))
        self._config = config
        self.end = config.days * SECONDS_PER_DAY
        self.season = Season(config.hours, config.weekdays, config.start.weekday())
        self.interest = SECONDS_PER_HOUR * np.array([i.interest_hours for i in config.industries])
        self.carry_over = SECONDS_PER_HOUR * np.array([i.carry_over_hours for i in config.industries])
        industries, products = len(config.industries), config.products_per_industry
        self.product_industry = np.repeat(np.arange(industries), products)
        self.industry_vectors = unit(random.standard_normal((industries, config.dimensions)))
        self.product_vectors = _near(random, self.industry_vectors[self.product_industry], config.product_spread)
        self.popularity = random.exponential(size=self.product_industry.size)
        median = np.array([i.price for i in config.industries])[self.product_industry]
        self.price = (median * random.lognormal(0, 0.5, median.size)).round(2)
        campaigns = self.product_industry.size * len(config.channels)
        self._lifetime = config.ad_lifetime_days * SECONDS_PER_DAY
        self._generations = int(self.end // self._lifetime) + 2
        self._phase = random.random((campaigns, config.ads_per_campaign)) * self._lifetime
        product = np.repeat(
            np.arange(self.product_industry.size), len(config.channels) * config.ads_per_campaign * self._generations
        )
        self.pictures = _near(random, self.product_vectors[product], config.ad_spread)
        self.texts = _near(random, self.product_vectors[product], config.ad_spread)
        spread = config.quality_spread
        self.quality = random.lognormal(-spread * spread / 2, spread, product.size)
        self.intent_exponent = config.ad_intent_spread * random.standard_normal(product.size)

    @property
    def proposals_per_click(self) -> float:
        """Interests to propose per expected click, 1 over the smallest `clicks_per_interest`; see `accept`."""
        return 1 / min(i.clicks_per_interest for i in self._config.industries)

    @property
    def accept(self) -> np.ndarray:
        """Share of the proposed interests to keep, float64 [G], so that clicks rather than interests follow the shares."""
        return 1 / (self.proposals_per_click * np.array([i.clicks_per_interest for i in self._config.industries]))

    @property
    def click_rate(self) -> float:
        """Clicks per second of a present user of mean activity for which the expected total is `clicks`.

        The loss of clicks after the end is estimated for the mean industry.
        """
        config = self._config
        start = (np.arange(1000) + 0.5) / 1000 * self.end
        present = config.present_at_start + (1 - config.present_at_start) * start / self.end
        shares = np.array([i.share for i in config.industries])
        seen = (-np.expm1((start[:, None] - self.end) / self.interest) * shares).sum(axis=1) / shares.sum()
        users = config.users * (1 - config.bots.share_of_users)
        return config.clicks * (1 - config.bots.share_of_clicks) / (users * self.end * (present * seen).mean())

    @property
    def clicks_per_bot(self) -> float:
        """Mean number of clicks of a bot."""
        bots = self._config.bots
        return bots.share_of_clicks * self._config.clicks / max(bots.share_of_users * self._config.users, 1e-9)

    def ad(self, campaign: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Returns the ads that run in each campaign at each time, int64 [N, ads_per_campaign]."""
        generation = ((time[:, None] + self._phase[campaign]) // self._lifetime).astype(np.int64)
        slot = campaign[:, None] * self._config.ads_per_campaign + np.arange(self._config.ads_per_campaign)
        return slot * self._generations + generation


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors to unit length, as float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _near(random: np.random.Generator, centres: np.ndarray, spread: float) -> np.ndarray:
    """Draws unit vectors near `centres` by adding noise of length about `spread`."""
    return unit(centres + spread / np.sqrt(centres.shape[1]) * random.standard_normal(centres.shape))
