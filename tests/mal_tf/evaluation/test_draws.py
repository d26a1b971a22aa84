import math

import numpy as np
import pytest

from mal_tf.evaluation import draws

USERS = np.random.default_rng(0).integers(0, 2**64, 200_000, np.uint64)


def one(user, seed, sample):
    return draws.poisson(user, seed, np.array([sample]))[:, 0]


def test_draws_are_poisson():
    times = one(USERS, 17, 0)
    expected = [math.exp(-1) / math.factorial(k) for k in range(6)]
    assert np.bincount(times)[:6] / USERS.size == pytest.approx(expected, abs=4 * np.sqrt(0.25 / USERS.size))


def test_a_users_draws_are_the_users_own():
    """Golden numbers: another release must not draw otherwise, nor another shard."""
    some = np.array([1, 2, 3, 2**63], np.uint64)
    found = draws.poisson(some, 17, np.arange(3)).T.tolist()
    assert found == [[2, 0, 0, 1], [0, 0, 1, 0], [1, 3, 2, 3]]
    assert one(some[2:], 17, 1).tolist() == found[1][2:]


def test_samples_seeds_and_neighbouring_users_are_independent():
    first = one(USERS, 17, 0)
    for other in (one(USERS, 17, 1), one(USERS, 18, 0), np.roll(first, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(USERS.size)
    near = one(np.arange(200_000, dtype=np.uint64), 17, 0)
    assert abs(np.corrcoef(near[1:], near[:-1])[0, 1]) < 4 / np.sqrt(near.size)


def test_a_draw_is_as_many_as_the_numbers_bounds_say():
    """Most are known by their first bits; here are all, and some that only the last bit decides."""
    bounds = draws._BOUNDS[:-1]
    number = np.concatenate([USERS, bounds, bounds - np.uint64(1), bounds + np.uint64(1)])
    expected = (number[:, None] >= draws._BOUNDS).sum(axis=1)
    with pytest.MonkeyPatch.context() as patch:  # The number as it is, not mixed.
        patch.setattr(draws, "mix64", lambda values: values)
        patch.setattr(draws, "INCREMENT", np.uint64(0))
        assert draws.poisson(number, 0, np.array([0]))[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("samples", [0, 1, 16, 37])
def test_blocks_are_all_resamples(samples):
    some = USERS[:5000]
    drawn = np.zeros((some.size, samples), np.uint8)
    for place, times in draws.blocks(some, 17, samples):
        drawn[:, place] += times + 1
    assert (drawn == draws.poisson(some, 17, np.arange(samples)) + 1).all()
