import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mal_tf.evaluation.calibration import calibration_curve, equal_mass
from mal_tf.evaluation.metrics import calibration_error

CLICKS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.0, 0.25, 1.0]), st.integers(0, 5).map(lambda p: p / 5)),
    min_size=1,
    max_size=40,
)


def _sorted_bins(label, prediction, bins):
    """Sums of sorted clicks, those of equal prediction with their mean label."""
    label = np.array([label[prediction == p].mean() for p in prediction])
    order = np.argsort(prediction, kind="stable")
    parts = [[i for i in range(order.size) if i * bins // order.size == b] for b in range(bins)]
    return [(len(p), prediction[order][p].sum(), label[order][p].sum()) for p in parts]


@given(CLICKS, st.integers(1, 7))
def test_bins_are_those_of_sorted_clicks(clicks, bins):
    _, label, prediction = np.array(clicks).T
    found = equal_mass(label, prediction, bins)
    expected = np.array(_sorted_bins(label, prediction, bins))
    np.testing.assert_array_equal(found.clicks, expected[:, 0])
    np.testing.assert_allclose(found.predicted, expected[:, 1], atol=1e-12)
    np.testing.assert_allclose(found.observed, expected[:, 2], atol=1e-12)


@given(CLICKS, st.randoms(use_true_random=False))
def test_neither_order_nor_names_of_users_matter(clicks, random):
    user, label, prediction = np.array(clicks).T
    user = np.unique(user, return_inverse=True)[1]
    order, names = list(range(len(clicks))), list(range(user.max() + 1))
    random.shuffle(order)
    random.shuffle(names)
    one = calibration_curve(user, label, prediction, 3)
    other = calibration_curve(np.array(names)[user][order], label[order], prediction[order], 3)
    assert [list(b.values()) for b in other] == [pytest.approx(list(b.values()), abs=1e-9) for b in one]


def test_hand_worked_with_a_tie_across_the_border():
    # Ascending .1 | .2 .2 .2 | .4 .9 in bins of three: two of the three at .2 (mean label 1/3) fall below, one above.
    label, prediction = np.array([0, 1.0, 0, 0, 0.5, 1]), np.array([0.1, 0.2, 0.2, 0.2, 0.4, 0.9])
    low, high = calibration_curve(np.arange(6), label, prediction, 2)
    assert (low["clicks"], low["predicted"], low["observed"]) == pytest.approx((3, 0.5 / 3, (2 / 3) / 3))
    assert (high["clicks"], high["predicted"], high["observed"]) == pytest.approx((3, 1.5 / 3, (1 / 3 + 1.5) / 3))


def test_the_curve_holds_the_calibration_error():
    generator = np.random.default_rng(0)
    label, prediction = generator.choice([0, 0, 0.3, 1], 500), generator.integers(0, 40, 500) / 40
    curve = calibration_curve(np.arange(500), label, prediction, 10)
    expected = sum(b["clicks"] * abs(b["predicted"] - b["observed"]) for b in curve) / 500
    assert calibration_error(label, prediction) == pytest.approx(expected)


def test_without_conversions_the_interval_is_wilsons_of_the_users():
    (found,) = calibration_curve(np.arange(20).repeat(3), np.zeros(60), np.full(60, 0.1), 1)
    expected = binomtest(0, 20).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_a_users_clicks_that_convert_together_count_once():
    label, prediction, users = np.array([1.0, 0, 0, 0, 1, 0, 0, 0]), np.full(8, 0.3), np.arange(8)
    (once,) = calibration_curve(users, label, prediction, 1)
    (five,) = calibration_curve(users.repeat(5), label.repeat(5), prediction.repeat(5), 1)
    (apart,) = calibration_curve(np.arange(40), label.repeat(5), prediction.repeat(5), 1)
    assert (five["low"], five["high"]) == pytest.approx((once["low"], once["high"]))
    assert apart["high"] - apart["low"] < 0.6 * (once["high"] - once["low"])
    # Both ends are where z standard errors of their own reach the mean; one user is lost to estimating the mean.
    for end in (once["low"], once["high"]):
        assert abs(0.25 - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / 7))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator, hits = np.random.default_rng(1), 0
    for _ in range(300):
        rate, clicks = generator.beta(1, 9, 80), generator.integers(1, 9, 80)
        user = np.arange(80).repeat(clicks)
        label = (generator.random(user.size) < rate[user]).astype(float)
        (found,) = calibration_curve(user, label, np.zeros(user.size), 1)
        hits += found["low"] <= 0.1 <= found["high"]
    assert 0.91 < hits / 300 < 0.99


def test_more_bins_than_clicks_are_none_that_are_empty():
    assert [b["clicks"] for b in calibration_curve(np.arange(3), np.ones(3), np.array([0.1, 0.2, 0.3]), 10)] == [
        1,
        1,
        1,
    ]
    assert calibration_curve(np.zeros(0, int), np.zeros(0), np.zeros(0)) == []


def test_one_user_says_as_little_as_one_click_however_the_sums_round():
    label, prediction = np.array([0.0, 0, 0, 0.25]), np.array([0.6, 0.6, 0.6, 0.0])
    for order in ([0, 1, 2, 3], [3, 0, 1, 2]):
        found = calibration_curve(np.zeros(4, int), label[order], prediction[order], 3)
        assert [b["high"] - b["low"] > 0.7 for b in found] == [True] * 3
