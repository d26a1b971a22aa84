"""Bootstrap draws of users that shards can compute independently, since they depend only on the user's hash and the seed."""

import math
from collections.abc import Iterator

import numpy as np

from features.hashing import INCREMENT, mix64

#: P(draw ≤ k) of Poisson(1) for k = 0, 1, …, scaled to 64 bits. A draw is the number of these that a uniform number reaches.
_BOUNDS = np.array(
    [min(int(math.fsum(math.exp(-1) / math.factorial(i) for i in range(k)) * 2**64), 2**64 - 1) for k in range(1, 20)],
    np.uint64,
)

#: Draws by the first 16 bits of the uniform number; `_OPEN` where the other bits decide.
_OPEN = 255
_FIRST = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
_BY_FIRST_BITS = np.where(
    np.searchsorted(_BOUNDS, _FIRST, side="right")
    == np.searchsorted(_BOUNDS, _FIRST + np.uint64((1 << 48) - 1), side="right"),
    np.searchsorted(_BOUNDS, _FIRST, side="right"),
    _OPEN,
).astype(np.uint8)

#: Resamples in a block, and users whose numbers are mixed at a time.
_SAMPLES, _USERS = 16, 4096


def blocks(user: np.ndarray, seed: int, samples: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields all resamples in blocks.

    Args:
        user: uint64 [users], well-mixed hashes.
        seed: seed of all resamples.
        samples: number of resamples.

    Yields:
        The range of resamples of a block, and how often each draws each user: uint8 [users, resamples of the block].
    """
    for start in range(0, samples, _SAMPLES):
        stop = min(start + _SAMPLES, samples)
        yield slice(start, stop), poisson(user, seed, np.arange(start, stop))


def poisson(user: np.ndarray, seed: int, samples: np.ndarray) -> np.ndarray:
    """Number of times that each user is drawn in the given resamples, Poisson(1) and independent of other users.

    In a bootstrap with replacement, the counts of users are approximately Poisson(1). Without a fixed total they are
    independent, so that shards can draw separately (Chamandy et al., "Estimating Uncertainty for Massive Data Streams",
    2012). The random number is the user's hash mixed with the seed and the number of the resample.

    Args:
        user: uint64 [users], well-mixed hashes.
        seed: seed of all resamples.
        samples: int [samples], numbers of the resamples.

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
        counts = _BY_FIRST_BITS[number >> np.uint64(48)]
        undecided = counts == _OPEN
        counts[undecided] = np.searchsorted(_BOUNDS, number[undecided], side="right")
        drawn[start : start + _USERS] = counts
    return drawn
