"""Mixing of 64-bit integers."""

import numpy as np

#: What SplitMix64 adds to its state at each step: odd, and 2^64 over the golden ratio.
INCREMENT = np.uint64(0x9E3779B97F4A7C15)


def mix64(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood, 2014): uint64 to uint64, one to one, every output bit from all input bits.

    Args:
        values: uint64 [n]; not changed.
    """
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
