import math

import numpy as np
import pytest

from mal_tf.evaluation import draws

USERS = np.random.default_rng(0).integers(0, 2**64, 200_000, np.uint64)


def test_draws_are_poisson():
    times = draws.poisson(USERS, 17, 0)
    expected = [math.exp(-1) / math.factorial(k) for k in range(6)]
    assert np.bincount(times)[:6] / USERS.size == pytest.approx(expected, abs=4 * np.sqrt(0.25 / USERS.size))


def test_a_users_draws_are_the_users_own():
    """Golden numbers: another release must not draw otherwise, nor another shard."""
    some = np.array([1, 2, 3, 2**63], np.uint64)
    found = [draws.poisson(some, 17, sample).tolist() for sample in range(3)]
    assert found == [[2, 0, 0, 1], [0, 0, 1, 0], [1, 3, 2, 3]]
    assert draws.poisson(some[2:], 17, 1).tolist() == found[1][2:]


def test_samples_seeds_and_neighbouring_users_are_independent():
    first = draws.poisson(USERS, 17, 0)
    for other in (draws.poisson(USERS, 17, 1), draws.poisson(USERS, 18, 0), np.roll(first, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(USERS.size)
    near = draws.poisson(np.arange(200_000, dtype=np.uint64), 17, 0)
    assert abs(np.corrcoef(near[1:], near[:-1])[0, 1]) < 4 / np.sqrt(near.size)
