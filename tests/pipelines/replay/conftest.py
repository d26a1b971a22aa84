import numpy as np
import pytest

from pipelines.replay import designs
from pipelines.replay.auction import competing, uniform
from pipelines.replay.config import Pacing, Prices
from pipelines.replay.opportunities import DAY, Opportunities


@pytest.fixture(scope="session")
def clicks() -> Opportunities:
    """20,000 clicks of 4,000 users on two days; what a click causes differs sixfold between most."""
    random, size, users = np.random.default_rng(0), 20_000, 4_000
    user = np.sort(np.append(np.arange(users), random.integers(users, size=size - users)))
    advertiser = random.integers(10, size=size)
    orders = 0.03 * random.lognormal(0, 0.9, size)
    return Opportunities(
        position=np.arange(size),
        click_id=np.arange(size).astype(str).astype(object),
        user=random.permutation(user),
        users=np.array([f"u{n:04d}" for n in range(users)], object),
        second=np.sort(random.integers(2 * DAY, size=size)),
        advertiser=advertiser,
        industry=advertiser % 2,
        industries=("even", "odd"),
        value=10.0 * (1 + advertiser),
        orders=orders,
        truth={"orders": orders},
    )


@pytest.fixture(scope="session")
def market(clicks):
    price = competing(clicks.value, clicks.orders, clicks.industry, uniform(1, "price", clicks.click_id), Prices())
    return designs.market(clicks, price, 0.2, Pacing())
