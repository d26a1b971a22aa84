import pytest

from pipelines.studies.simulation.block import simulate
from pipelines.studies.simulation.config import load
from pipelines.studies.simulation.truth import truth
from pipelines.studies.simulation.world import World
from tests.support.market import MARKET, WINDOW


@pytest.fixture(scope="session")
def config():
    return load(MARKET, ["users=5000", "clicks=50000"])


@pytest.fixture(scope="session")
def world(config):
    return World(config)


@pytest.fixture(scope="session")
def block(config, world):
    return simulate(config, world, 0)


@pytest.fixture(scope="session")
def known(world, block):
    return truth(world, block, WINDOW)
