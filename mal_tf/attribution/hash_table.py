"""Hash table in NumPy that looks up many keys at once."""

import numpy as np

#: Multiplier of Fibonacci hashing: 2^64 over the golden ratio, rounded to an odd number. The top bits of key · _MULTIPLIER are
#: uniform even if the keys are not (Knuth, The Art of Computer Programming, vol. 3).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class HashTable:
    """Map from integer keys to values, several times as fast as a binary search.

    Args:
        keys: uint64 [N], all different.
        values: float64 [N].
        missing: the value of a key that is not there.
    """

    def __init__(self, keys: np.ndarray, values: np.ndarray, missing: float):
        bits = (4 * keys.size).bit_length() or 1
        self._shift, self._missing = np.uint64(64 - bits), missing
        bucket = self._bucket(keys)
        order = np.argsort(bucket, kind="stable")
        filled, start, counts = np.unique(bucket[order], return_index=True, return_counts=True)
        self._start = np.full(2**bits, -1, np.int32)
        self._start[filled] = start
        # Most keys in a bucket. The arrays are extended by as many, so that reading a bucket never runs past the end.
        self._longest = int(counts.max(initial=0))
        order = np.append(order, order[: self._longest])
        self._keys, self._values = keys[order], values[order]

    def __call__(self, keys: np.ndarray) -> np.ndarray:
        """Values of uint64 keys: float64 of the same shape."""
        values = np.full(keys.size, self._missing)
        slot = np.take(self._start, self._bucket(keys.ravel()))
        pending = np.flatnonzero(slot >= 0)
        wanted, slot = keys.ravel()[pending], slot[pending]
        for _ in range(self._longest):
            hit = np.take(self._keys, slot) == wanted
            values[pending[hit]] = self._values[slot[hit]]
            pending, wanted, slot = pending[~hit], wanted[~hit], slot[~hit] + 1
        return values.reshape(keys.shape)

    def _bucket(self, keys: np.ndarray) -> np.ndarray:
        return ((keys * _MULTIPLIER) >> self._shift).view(np.int64)
