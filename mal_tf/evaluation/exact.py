"""Exact sums of float64 numbers, which do not depend on the order or on how the numbers are split."""

import numpy as np

#: Bits of the significand of a float64, and of its lower half.
_FRACTION, _HALF = 53, 26

#: Sums are Python integers in a unit so small that every float64 is a multiple of it. This is the value 1 in that unit.
ONE = 2 ** (1074 + _FRACTION)


def sums(group: np.ndarray, values: np.ndarray, groups: int) -> np.ndarray:
    """Computes exact sums by group, which can be added to those of other parts with `+`.

    Mantissas are added as integers by group and exponent, in two halves that a float64 holds exactly (the idea of the
    long accumulator, Kulisch and Miranker, 1986).

    Args:
        group: int64 [n], 0 … groups − 1.
        values: float [n], finite, n < 2^26.
        groups: number of groups.

    Returns:
        Python integers [groups], dtype object, which `number` converts to float.
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
    """Exact sum of float [n]; see `sums`."""
    return sums(np.zeros(len(values), np.int64), values, 1)[0]


def number(total: int) -> float:
    """The float64 nearest to an exact sum."""
    return total / ONE
