import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.evaluation import exact

FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@given(st.lists(st.tuples(st.integers(0, 2), FLOATS), max_size=20), st.integers(0, 20))
def test_sums_are_exact_by_group_and_in_any_split(pairs, cut):
    group, values = np.array([g for g, _ in pairs], np.int64), np.array([v for _, v in pairs])
    found = exact.sums(group, values, 3)
    for number in range(3):
        mine = values[group == number].tolist()
        assert Fraction(found[number], exact.ONE) == sum(map(Fraction, mine))
        assert exact.number(found[number]) == math.fsum(mine)
    parts = exact.sums(group[:cut], values[:cut], 3) + exact.sums(group[cut:], values[cut:], 3)
    assert parts.tolist() == found.tolist()


def test_what_float64_loses_is_kept():
    assert exact.number(exact.total(np.array([1e16, 1.0, -1e16]))) == 1
    least = 5e-324
    assert exact.number(exact.total(np.array([1.0, least, -1.0]))) == least
