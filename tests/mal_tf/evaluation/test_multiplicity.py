import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.evaluation.multiplicity import holm

P = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)


def test_hand_worked():
    # Ascending: 4 · .005, 3 · .01, 2 · .03, then 1 · .04 = .04, which must not be below its forerunner's .06.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])


def test_what_was_not_tested_is_not_counted():
    found = holm(np.array([np.nan, 0.02, np.nan, 0.03]))
    assert found == pytest.approx([np.nan, 0.04, np.nan, 0.04], nan_ok=True)
    assert holm(np.array([])).size == 0


@given(P, st.randoms(use_true_random=False))
def test_between_the_raw_value_and_bonferroni_whatever_the_order(p, random):
    found, order = holm(p), list(range(p.size))
    random.shuffle(order)
    assert (found >= p).all() and (found <= np.minimum(p.size * p, 1)).all()
    np.testing.assert_array_equal(holm(p[order]), found[order])
