import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.evaluation import by_range, draws, exact
from mal_tf.evaluation.calibration import calibration_curve
from mal_tf.evaluation.metrics import auc, calibration_error, metrics_or_nan
from tests.mal_tf.evaluation.split_clicks import BINS, CLICKS, SEED, columns, hashed, ranges

SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(SINGLE, min_size=1, max_size=30))
def test_keys_are_ordered_as_the_predictions(values):
    values = np.sort(np.float32(values))
    key = by_range.keys(values).astype(np.int64)
    assert (np.diff(key) >= 0).all()
    assert by_range.keys(np.float32([-0.0])) == by_range.keys(np.float32([0.0]))


def test_ranges_are_cut_from_the_counts_alone():
    key = np.array([3, 5, 6, 9, 12], np.uint32)
    assert by_range.cut(key, np.array([1, 1, 1, 1, 1]), 2).tolist() == [3, 6, 12]
    assert by_range.cut(key, np.array([1, 7, 1, 1, 1]), 3).tolist() == [3, 6, 9]  # One key is never cut.
    assert by_range.cut(key, np.array([1, 1, 1, 1, 1]), 100).tolist() == [3]


@given(CLICKS, st.integers(1, 10))
def test_groups_have_the_metrics_of_their_clicks(clicks, size):
    user, group, label, prediction = columns(clicks)
    found = ranges(user, group, label, prediction, size)
    everything = np.ones(len(user), bool)
    for number, mine in enumerate([everything, group == 0, group == 1]):
        expected = metrics_or_nan(np.unique(user[mine], return_inverse=True)[1], label[mine], prediction[mine])
        assert found.auc()[number, 0] == pytest.approx(expected["auc"], rel=1e-12, nan_ok=True)
        apart = [abs(exact.number(total)) for total in found.bins[0, number] - found.bins[1, number]]
        error = calibration_error(label[mine], prediction[mine], BINS)
        assert sum(apart) == pytest.approx(error * mine.sum(), abs=1e-12)


@given(CLICKS, st.integers(1, 10), st.integers(1, 3))
def test_the_calibration_curve_with_its_intervals(clicks, size, shards):
    user, group, label, prediction = columns(clicks)
    curve = ranges(user, group, label, prediction, size).curve(1, len(user))
    some = [user % shards == shard for shard in range(shards)]
    excess = sum(curve.excess(user[mine], [label[mine]], prediction[mine]) for mine in some)
    expected = calibration_curve(user, label, prediction, BINS)
    assert curve.points(0, excess) == [pytest.approx(point, rel=1e-9, abs=1e-12) for point in expected]


@given(CLICKS, st.integers(1, 10), st.randoms())
def test_what_is_exact_does_not_depend_on_ranges_and_nothing_on_order(clicks, size, random):
    once, whole = ranges(*columns(clicks), size, samples=4), ranges(*columns(clicks))
    random.shuffle(clicks)
    again = ranges(*columns(clicks), size, samples=4)
    for name in ("pairs", "bins", "borders"):
        assert getattr(once, name).tolist() == getattr(again, name).tolist() == getattr(whole, name).tolist()
    assert once.drawn.tolist() == again.drawn.tolist()


@given(CLICKS, st.integers(1, 10))
def test_a_resample_is_the_auc_of_the_drawn_users_clicks(clicks, size):
    user, group, label, prediction = columns(clicks)
    found = ranges(user, group, label, prediction, size, samples=3).auc()
    for sample in range(3):
        drawn = np.repeat(np.arange(len(user)), draws.poisson(hashed(user), SEED, np.array([sample]))[:, 0])
        if 0 < (label[drawn] > 0).sum() < drawn.size:
            assert found[0, 1 + sample] == pytest.approx(auc(label[drawn], prediction[drawn]), rel=1e-12)
        else:
            assert np.isnan(found[0, 1 + sample])
