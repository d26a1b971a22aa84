import numpy as np
import pytest

from mal_tf.evaluation.judgement import (
    detectable,
    differences,
    has_direction,
    interval,
    lifts,
    losses,
    p_value,
    reading,
)


def test_trainings_are_resampled_too():
    """One training differs from the others: the interval has to be as wide as its share of the mean may become."""
    none = {"auc": np.zeros(1 + 2000)}
    found = differences([none], [{"auc": np.full(1 + 2000, value)} for value in (0.0, 0.0, 0.3)])["auc"]
    assert found["difference"] == pytest.approx(0.1)
    # Of three draws of three, all are the odd one with probability 1/27, none with 8/27.
    assert (found["low"], found["high"]) == pytest.approx((0.0, 0.3))


def test_hand_worked_p_values():
    assert p_value(np.array([0.1, 0.2, 0.3, -0.1])) == pytest.approx(2 * (1 + 1) / 5)
    assert p_value(np.full(199, 0.1)) == pytest.approx(0.01)
    assert p_value(np.array([0.1, 0.0, np.nan])) == pytest.approx(1)  # Zero is on both sides: 2 · 2 / 3, at most 1.
    assert np.isnan(p_value(np.array([np.nan]))) and np.isnan(p_value(np.array([])))


def test_rounding_is_no_difference():
    """Engines add up in different orders: what is 0 in one is 10^-17 in the other, and p must be the same."""
    assert p_value(np.array([1e-16, -1e-17, 0, 2e-16])) == 1


def test_intervals_leave_out_what_has_no_value():
    values = np.column_stack([np.arange(101.0), np.full(101, np.nan)])
    values[0] = np.nan
    low, high = interval(values)
    assert (low[0], high[0]) == (pytest.approx(3.475), pytest.approx(97.525))
    assert np.isnan(low[1]) and np.isnan(high[1])
    assert all(np.isnan(end) for end in interval(np.zeros(0)))


def test_p_is_small_where_the_interval_lies_off_zero():
    for shift in (0.0, 1.0, 2.5, 4.0):
        gain = np.random.default_rng(0).normal(shift, 1, 1001)
        found = differences([{"auc": np.zeros(1001)}], [{"auc": gain}])["auc"]
        assert (found["p"] < 0.05) == (found["low"] > 0 or found["high"] < 0)


def test_a_loss_is_positive_where_the_candidate_is_worse():
    candidate = {"auc": np.array([0.7]), "log_loss": np.array([0.4]), "pcoc": np.array([0.8])}
    reference = {"auc": np.array([0.8]), "log_loss": np.array([0.3]), "pcoc": np.array([1.5])}
    found = {name: loss["difference"] for name, loss in losses(candidate, reference).items()}
    assert found == pytest.approx({"auc": 0.1, "log_loss": 0.1, "pcoc": 0.2 - 0.5})


@pytest.mark.parametrize(
    ("metric", "difference", "expected"),
    [
        ("auc", {"low": 0.1, "high": 0.2, "adjusted_p": 0.01}, ("better", True)),
        ("auc", {"low": -0.2, "high": -0.1, "adjusted_p": 0.2}, ("worse", False)),
        ("log_loss", {"low": -0.2, "high": -0.1}, ("better", True)),
        ("gauc", {"low": 0.0, "high": 0.1, "adjusted_p": 0.01}, ("open", True)),
        ("gauc", {"low": None, "high": None}, ("open", True)),
    ],
)
def test_readings_follow_the_metrics_direction(metric, difference, expected):
    assert reading(metric, difference) == expected


def test_a_detectable_difference_is_shown_in_four_of_five_samples():
    """Against draws: estimates of that true difference with their intervals, counted where the interval excludes 0."""
    error = 0.01
    size = detectable({"low": 0.1 - 1.96 * error, "high": 0.1 + 1.96 * error})
    estimates = np.random.default_rng(3).normal(size, error, 100_000)
    assert (np.abs(estimates) > 1.96 * error).mean() == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("ends", [{}, {"low": None, "high": None}, {"low": 0.0, "high": 0.0}])
def test_nothing_is_known_to_be_detectable_without_an_interval(ends):
    assert detectable(ends) is None


def test_what_has_a_best_value_or_is_not_known_has_no_direction():
    assert [has_direction(name) for name in ("auc", "log_loss", "pcoc", "unheard_of")] == [True, True, False, False]


def test_lifts_are_relative_to_the_base_and_undefined_over_0():
    values = np.array([[[2.0, 0.0], [3.0, 1.0]]])
    assert lifts(values, 0)[0].tolist() == [
        [0.0, pytest.approx(np.nan, nan_ok=True)],
        [0.5, pytest.approx(np.nan, nan_ok=True)],
    ]
