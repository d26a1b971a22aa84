"""Resamples of users that need not be together: each user's number of draws follows from the user alone."""

import math

import numpy as np

#: A draw is k where a uniform 64-bit number is at least as large as the first k of these: P(draw < k) of Poisson(1).
_BOUNDS = np.array(
    [min(int(math.fsum(math.exp(-1) / math.factorial(i) for i in range(k)) * 2**64), 2**64 - 1) for k in range(1, 20)],
    np.uint64,
)


def poisson(user: np.ndarray, seed: int, sample: int) -> np.ndarray:
    """How often each user is drawn in a resample: Poisson(1), whatever other users there are.

    Drawing as many users as there are, with replacement, counts each about so often; without a fixed total the counts are
    independent, so that shards draw by themselves (Chamandy et al., Estimating Uncertainty for Massive Data Streams,
    2012). The random number is the user's hash mixed with seed and sample (the finaliser of SplitMix64, Steele et al.,
    2014).

    Args:
        user: uint64 [users], well-mixed hashes.
        seed: of all resamples.
        sample: the resample's number.

    Returns:
        uint8 [users].
    """
    key = _mixed(_mixed(np.array([seed], np.uint64)) + np.uint64(sample))
    return np.searchsorted(_BOUNDS, _mixed(user ^ key), side="right").astype(np.uint8)


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
