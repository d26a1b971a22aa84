"""Resamples of users that need not be together: each user's number of draws follows from the user alone."""

import math
from collections.abc import Iterator

import numpy as np

from features.hashing import INCREMENT, mix64

#: A draw is k where a uniform 64-bit number is at least as large as the first k of these: P(draw < k) of Poisson(1).
_BOUNDS = np.array(
    [min(int(math.fsum(math.exp(-1) / math.factorial(i) for i in range(k)) * 2**64), 2**64 - 1) for k in range(1, 20)],
    np.uint64,
)

#: Draws by the first 16 bits of the number; `_OPEN` where the others decide.
_OPEN = 255
_FIRST = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
_BY_FIRST_BITS = np.where(
    np.searchsorted(_BOUNDS, _FIRST, side="right")
    == np.searchsorted(_BOUNDS, _FIRST + np.uint64((1 << 48) - 1), side="right"),
    np.searchsorted(_BOUNDS, _FIRST, side="right"),
    _OPEN,
).astype(np.uint8)

#: Resamples that are drawn and added up together, and users whose numbers are mixed at a time.
_SAMPLES, _USERS = 16, 4096


def blocks(user: np.ndarray, seed: int, samples: int) -> Iterator[tuple[slice, np.ndarray]]:
    """All resamples, a few at a time.

    Args:
        user: uint64 [users], well-mixed hashes.
        seed: of all resamples.
        samples: how many resamples.

    Yields:
        Which resamples, and how often each draws each user: uint8 [users, resamples of the block].
    """
    for start in range(0, samples, _SAMPLES):
        stop = min(start + _SAMPLES, samples)
        yield slice(start, stop), poisson(user, seed, np.arange(start, stop))


def poisson(user: np.ndarray, seed: int, samples: np.ndarray) -> np.ndarray:
    """How often each user is drawn in some resamples: Poisson(1), whatever other users there are.

    Drawing as many users as there are, with replacement, counts each about so often; without a fixed total the counts are
    independent, so that shards draw by themselves (Chamandy et al., Estimating Uncertainty for Massive Data Streams,
    2012). The random number is the user's hash mixed with seed and sample.

    Args:
        user: uint64 [users], well-mixed hashes.
        seed: of all resamples.
        samples: int [samples], the resamples' numbers.

    Returns:
        uint8 [users, samples].
    """
    seeds = mix64(np.array([seed], np.uint64) + INCREMENT)
    keys = mix64(seeds + samples.astype(np.uint64) + INCREMENT)
    drawn = np.empty((user.size, keys.size), np.uint8)
    for start in range(0, user.size, _USERS):
        number = user[start : start + _USERS, None] ^ keys
        number += INCREMENT
        number = mix64(number)
        some = _BY_FIRST_BITS[number >> np.uint64(48)]
        undecided = some == _OPEN
        some[undecided] = np.searchsorted(_BOUNDS, number[undecided], side="right")
        drawn[start : start + _USERS] = some
    return drawn
