"""SplitMix64, a hash function on 64-bit integers."""

import numpy as np

#: Increment of SplitMix64's state at each step: 2^64 over the golden ratio, rounded to an odd number.
INCREMENT = np.uint64(0x9E3779B97F4A7C15)


def mix64(values: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of uint64 whose output bits depend on all input bits.

    Args:
        values: uint64 of any shape; not changed.

    Returns:
        uint64 of the same shape.
    """
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
