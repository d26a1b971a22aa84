import numpy as np
import pytest

from features.time_units import SECONDS_PER_HOUR
from pipelines.studies.simulation.season import HOURS_PER_WEEK, Season

HOURS, WEEKDAYS = np.linspace(0.2, 2, 24), (1, 1, 1, 1, 1, 2, 3)


@pytest.fixture
def season():
    return Season(HOURS, WEEKDAYS, first_weekday=2)


def rate(time):
    """s(t) as configured: second 0 is on a Wednesday."""
    hour = (time // SECONDS_PER_HOUR).astype(np.int64)
    return HOURS[hour % 24] * np.array(WEEKDAYS)[(2 + hour // 24) % 7] / (np.mean(HOURS) * np.mean(WEEKDAYS))


@pytest.mark.parametrize("decay", [0.5 * SECONDS_PER_HOUR, 20 * SECONDS_PER_HOUR, 400 * SECONDS_PER_HOUR])
@pytest.mark.parametrize("start", [0.0, 1230.0, 300.3 * SECONDS_PER_HOUR])
def test_integral_agrees_with_a_sum_of_small_steps(season, decay, start):
    length = 100 * SECONDS_PER_HOUR
    middle = start + np.arange(5, length, 10)
    expected = (10 * rate(middle) * np.exp((start - middle) / decay)).sum()
    found = season.integral(np.array([start]), np.array([decay]), length)
    assert found == pytest.approx([expected], rel=1e-4)


def test_the_mean_rate_is_one(season):
    # Over a whole week, at a decay so long that nothing fades.
    found = season.integral(np.array([7.0]), np.array([1e12]), HOURS_PER_WEEK * SECONDS_PER_HOUR)
    assert found == pytest.approx([HOURS_PER_WEEK * SECONDS_PER_HOUR], rel=1e-3)


def test_points_come_at_the_rate_that_the_integral_is_of(season):
    random, parents = np.random.default_rng(0), 20_000
    start, decay = np.full(parents, 5000.0), np.full(parents, 30.0 * SECONDS_PER_HOUR)
    parent, time = season.points(random, start, np.full(parents, 2.0), decay, end=60.0 * SECONDS_PER_HOUR)
    for until in (10, 40, 60):
        expected = 2 * parents * season.integral(start[:1], decay[:1], until * SECONDS_PER_HOUR - 5000)[0] / decay[0]
        assert (time < until * SECONDS_PER_HOUR).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert time.min() >= 5000 and time.max() < 60 * SECONDS_PER_HOUR
    counts = np.bincount(parent, minlength=parents)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.05)  # Poisson
