"""Sums of float64 numbers without rounding, so that they are the same in any order and however they are split."""

import numpy as np

#: Bits of a float64's fraction, and of the lower half of them.
_FRACTION, _HALF = 53, 26

#: A sum is a Python integer that counts units so small that every float64 is a whole number of them; this many are 1.
ONE = 2 ** (1074 + _FRACTION)


def sums(group: np.ndarray, values: np.ndarray, groups: int) -> np.ndarray:
    """Exact sums by group; those of several parts are added with `+`.

    Mantissas are added as integers by group and exponent, in two halves that a float64 holds exactly (the idea of the
    long accumulator, Kulisch and Miranker, 1986).

    Args:
        group: int64 [n], 0 … groups − 1.
        values: float [n], finite, n < 2^26.
        groups: how many.

    Returns:
        Python integers [groups], dtype object; see `number`.
    """
    if not len(values):
        return np.zeros(groups, np.int64).astype(object)
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    whole = (mantissa * 2.0**_FRACTION).astype(np.int64)
    lowest, highest = int(exponent.min()), int(exponent.max())
    width = highest - lowest + 1
    place = group * width + (exponent - lowest)
    high = np.bincount(place, whole >> _HALF, groups * width).astype(np.int64).astype(object)
    low = np.bincount(place, whole & (2**_HALF - 1), groups * width).astype(np.int64).astype(object)
    units = np.array([2 ** (1074 + power) for power in range(lowest, highest + 1)], object)
    return (high * 2**_HALF + low).reshape(groups, width) @ units


def total(values: np.ndarray) -> int:
    """The exact sum of float [n]; see `sums`."""
    return sums(np.zeros(len(values), np.int64), values, 1)[0]


def number(total: int) -> float:
    """The float64 nearest to a sum."""
    return total / ONE
