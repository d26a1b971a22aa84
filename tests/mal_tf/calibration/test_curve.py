import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.special import logit as log_odds
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from features.errors import MalTfError
from mal_tf.calibration import curve as curves
from mal_tf.calibration.curve import isotonic, platt
from mal_tf.evaluation.metrics import auc, calibration_error, log_loss, pcoc
from tests.support.calibration import market

#: Clicks as (logit, label), with ties, and logits that no float32 probability can tell from 0 or 1.
CLICKS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([-1e6, -3.0, -2.97, 0.0, 1e6]), st.floats(-12, 12)), st.sampled_from([0.0, 0.25, 1.0])
    ),
    min_size=2,
    max_size=60,
).filter(lambda clicks: 0 < sum(label for _, label in clicks) < len(clicks))


def test_steps_are_those_of_sklearns_isotonic_regression(monkeypatch):
    monkeypatch.setattr(curves, "_FEWEST", 1e-9)
    generator = np.random.default_rng(1)
    logit = generator.normal(0, 1, 3000)
    label = np.where(generator.random(3000) < expit(logit), 0.75, 0.125)  # No step is at 0 or at 1.
    middle = (np.floor(logit * 16) + 0.5) / 16
    oracle = IsotonicRegression().fit_transform(middle, label)
    values = np.unique(oracle)
    found = isotonic(logit, label)
    np.testing.assert_allclose(found.x, [middle[oracle == value].mean() for value in values])
    shift = found.y - log_odds(values)
    assert len(values) > 10 and np.ptp(shift) < 1e-9 and abs(shift[0]) < 0.01


def test_platt_is_sklearns_logistic_regression_on_platts_targets():
    logit, label = market()
    label *= np.random.default_rng(2).choice([0.25, 1.0], label.size)
    positives, negatives = label.sum(), label.size - label.sum()
    target = label * (positives + 1) / (positives + 2) + (1 - label) / (negatives + 2)
    x, y = np.tile(logit, 2)[:, np.newaxis], np.repeat([1, 0], label.size)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x, y, np.append(target, 1 - target))
    found = platt(logit, label)
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-5)
    assert found(np.zeros(1))[0] == pytest.approx(oracle.intercept_[0], rel=1e-5)


@pytest.mark.parametrize("fit", [isotonic, platt])
@given(clicks=CLICKS)
def test_curves_rise_stay_in_range_and_have_the_mean_of_the_labels(fit, clicks):
    logit, label = np.array(clicks).T
    found = fit(logit, label)
    grid = np.unique(np.concatenate([np.linspace(-40, 40, 1001), logit.clip(-40, 40)]))
    mapped = found(grid)
    assert np.isfinite(mapped).all() and (np.diff(mapped) >= 0).all()
    apart = np.diff(grid) > 1e-6
    assert (np.diff(mapped)[apart] > 0).all()
    predicted = expit(found(logit))
    assert (predicted >= 0).all() and (predicted <= 1).all()
    assert predicted.sum() == pytest.approx(label.sum(), abs=1e-6 if fit is isotonic else 1.0)


@pytest.mark.parametrize("fit", [isotonic, platt])
def test_calibrates_clicks_it_has_not_seen_and_keeps_their_order(fit):
    (logit, label), (new, truth) = market(), market(seed=1)
    before, after = expit(new), expit(fit(logit, label)(new))
    assert pcoc(truth, before) > 1.2 and pcoc(truth, after) == pytest.approx(1, abs=0.05)
    assert log_loss(truth, after) < log_loss(truth, before) - 0.01
    assert calibration_error(truth, after) < 0.3 * calibration_error(truth, before)
    assert auc(truth, after) == auc(truth, before)


def test_isotonic_by_hand():
    """Two groups of 400 clicks, with 40 and 200 positives: two knots, the line between them, slope 1 beyond."""
    logit, label = np.repeat([-1.0, 1.0], 400), np.zeros(800)
    label[:40] = label[400:600] = 1
    found = isotonic(logit, label)
    np.testing.assert_allclose(found.x, [-1 + 1 / 32, 1 + 1 / 32])
    np.testing.assert_allclose(np.diff(found.y), log_odds(0.5) - log_odds(0.1))
    np.testing.assert_allclose(
        found([found.x.mean(), found.x[0] - 2, found.x[1] + 3]) - found.y[0], [1.0986, -2, 5.1972], atol=1e-4
    )
    assert expit(found(logit)).mean() == pytest.approx(0.3)


def test_few_positives_shift_and_no_more():
    logit, label = np.linspace(-3, 1, 200), np.zeros(200)
    label[150:170] = 1  # 20: less than what a knot stands for.
    found = isotonic(logit, label)
    assert found.x.size == 1 and found.slope == 1
    assert expit(found(logit)).sum() == pytest.approx(20)


@pytest.mark.parametrize(
    "logit",
    [np.linspace(1, -1, 400), np.zeros(400), np.tile([-9.0, 9.0], 200)],
    ids=["turned round", "all the same", "of no use"],
)
def test_platt_never_turns_the_ranking_round(logit):
    label = (np.arange(400) >= 300).astype(float)
    found = platt(logit, label)
    assert found.slope == 1 and expit(found(logit)).sum() == pytest.approx(100)


def test_platt_of_classes_that_a_logit_parts_is_finite():
    found = platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([found.slope, found.y[0]]).all() and 0 < found.slope < 100


@pytest.mark.parametrize("fit", [isotonic, platt])
@pytest.mark.parametrize("label", [np.zeros(5), np.ones(5), np.zeros(0)])
def test_one_class_is_refused(fit, label):
    with pytest.raises(MalTfError, match=r"needs clicks of both classes, found credit of \d among \d clicks"):
        fit(np.arange(len(label)), label)
