import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from features.errors import MalTfError
from mal_tf.evaluation import metrics
from mal_tf.evaluation.metrics import (
    all_metrics,
    auc,
    calibration_error,
    gauc,
    log_loss,
    metrics_or_nan,
    pcoc,
    per_user,
)

#: Clicks as (user, label, prediction), with many ties.
CLICKS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.0, 0.25, 1.0]), st.integers(0, 4).map(lambda p: p / 4)),
    min_size=1,
    max_size=30,
)


def _sklearn(label, prediction):
    return roc_auc_score(label > 0, prediction, sample_weight=np.where(label > 0, label, 1))


def _columns(clicks):
    user, label, prediction = np.array(clicks).T
    return np.unique(user, return_inverse=True)[1], label, prediction


@given(CLICKS)
def test_auc_and_gauc_match_sklearn_user_by_user(clicks):
    user, label, prediction = _columns(clicks)
    found = per_user(user, label, prediction)
    total = weight = 0.0
    for u in range(user.max() + 1):
        mine = user == u
        assert found.clicks[u] == mine.sum()
        if 0 < (label[mine] > 0).sum() < mine.sum():
            assert found.auc[u] == pytest.approx(_sklearn(label[mine], prediction[mine]))
            total, weight = total + mine.sum() * _sklearn(label[mine], prediction[mine]), weight + mine.sum()
        else:
            assert np.isnan(found.auc[u])
    if weight:
        assert gauc(found) == pytest.approx(total / weight)
        assert auc(label, prediction) == pytest.approx(_sklearn(label, prediction))


def test_hand_worked_auc_and_gauc():
    # User 0: positive of weight 1 ties one of two negatives and beats the other: 3/4. User 1: one class, skipped.
    # User 2: weights 1 and 1/2 over one negative, only the second wins: 1/3.
    user = np.array([0, 1, 0, 2, 0, 2, 2])
    label = np.array([1, 1, 0, 1, 0, 0, 0.5])
    prediction = np.array([0.5, 0.1, 0.5, 0.2, 0.3, 0.4, 0.9])
    found = per_user(user, label, prediction)
    assert found.auc == pytest.approx([0.75, np.nan, 1 / 3], nan_ok=True)
    assert gauc(found) == pytest.approx((3 * 0.75 + 3 / 3) / 6)


def test_one_class_is_an_error_a_person_can_read():
    with pytest.raises(MalTfError, match="found 2 positives among 2 clicks"):
        auc(np.array([1.0, 0.5]), np.array([0.1, 0.2]))
    with pytest.raises(MalTfError, match="found none among 2"):
        gauc(per_user(np.array([0, 1]), np.array([1.0, 0.0]), np.array([0.1, 0.2])))


def test_hand_worked_log_loss():
    found = log_loss(np.array([1.0, 0.25]), np.array([0.5, 0.2]))
    assert found == pytest.approx((math.log(2) - 0.25 * math.log(0.2) - 0.75 * math.log(0.8)) / 2)
    assert log_loss(np.array([1.0]), np.array([0.0], np.float32)) == pytest.approx(-math.log(1e-7))


def test_hand_worked_pcoc():
    assert pcoc(np.array([1.0, 0.5, 0]), np.array([0.3, 0.3, 0.3])) == pytest.approx(0.6)
    assert math.isnan(pcoc(np.zeros(2), np.ones(2)))


def test_hand_worked_calibration_error():
    label, prediction = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.1, 0.2, 0.6])
    # Bins {0.1, 0.2} and {0.6, 0.9}: |0.15 − 0.5| and |0.75 − 0.5|, of the same mass.
    assert calibration_error(label, prediction, bins=2) == pytest.approx(0.3)
    assert calibration_error(label, prediction, bins=1) == pytest.approx(0.05)
    assert calibration_error(label, prediction, bins=10) == pytest.approx((0.1 + 0.1 + 0.8 + 0.6) / 4)


def test_all_metrics_together():
    user, label, prediction = np.array([0, 0, 1]), np.array([1.0, 0, 0.5]), np.array([0.7, 0.2, 0.4])
    found = all_metrics(user, label, prediction)
    assert (found["clicks"], found["positives"], found["gauc_users"]) == (3, 2, 1)
    assert (found["auc"], found["gauc"], found["pcoc"]) == pytest.approx((1, 1, 1.3 / 1.5))


def _shuffled(metric):
    generator = np.random.default_rng(0)
    columns = [generator.integers(0, 5, 200), generator.choice([0, 0, 0.5, 1], 200), generator.integers(0, 6, 200) / 6]
    order = generator.permutation(200)
    return [all_metrics(*(c[o] for c in columns))[metric] for o in (slice(None), order)]


@pytest.mark.parametrize("metric", ["auc", "gauc", "log_loss", "pcoc"])
def test_order_of_clicks_does_not_matter(metric):
    one, other = _shuffled(metric)
    assert one == pytest.approx(other)


def test_order_of_clicks_does_not_matter_to_calibration():
    one, other = _shuffled("ece")
    assert one == pytest.approx(other)


FLOAT32 = st.floats(width=32, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0]), FLOAT32), min_size=1, max_size=20))
def test_any_float32_ranks_as_the_float64_that_it_is(clicks):
    """Negative numbers, both zeros, tiny ones and infinity; the float64 has something beside it that no float32 is."""
    user, label = _columns([(*click[:2], 0) for click in clicks])[:2]
    prediction = np.array([click[2] for click in clicks], np.float32)
    expected = per_user(user, label, np.searchsorted(np.unique(prediction), prediction)).auc
    np.testing.assert_array_equal(per_user(user, label, prediction).auc, expected)
    user, label, prediction = np.append(user, 3), np.append(label, 0), np.append(prediction.astype(np.float64), 0.1)
    np.testing.assert_array_equal(
        per_user(np.unique(user, return_inverse=True)[1], label, prediction).auc[:-1], expected
    )


def test_float64_that_float32_would_tie_are_told_apart():
    label, prediction = np.array([1.0, 0]), 0.5 + np.array([1e-12, 0])
    assert auc(label, prediction) == 1
    assert auc(label, prediction.astype(np.float32)) == 0.5


@given(CLICKS, st.randoms(use_true_random=False))
def test_names_of_users_and_order_of_clicks_do_not_matter(clicks, random):
    user, label, prediction = _columns(clicks)
    names, order = list(range(user.max() + 1)), list(range(user.size))
    random.shuffle(names)
    random.shuffle(order)
    renamed = np.array(names)[user]
    one, other = per_user(user, label, prediction), per_user(renamed[order], label[order], prediction[order])
    np.testing.assert_allclose(other.auc[names], one.auc, rtol=1e-12)
    np.testing.assert_array_equal(other.clicks[names], one.clicks)


@given(CLICKS)
def test_metrics_without_a_class_are_nan_and_the_others_stay(clicks):
    user, label, prediction = _columns(clicks)
    found = metrics_or_nan(user, label, prediction)
    try:
        assert all_metrics(user, label, prediction) == found
    except MalTfError:
        assert np.isnan(found["auc"]) or np.isnan(found["gauc"])
    assert found["log_loss"] == pytest.approx(log_loss(label, prediction)) and found["clicks"] == len(clicks)


def test_losses_are_summed_in_pieces(monkeypatch):
    label, prediction = np.array([1.0, 0, 0, 1, 0.5]), np.array([0.9, 0.2, 0.4, 0.7, 0.3])
    whole = log_loss(label, prediction)
    monkeypatch.setattr(metrics, "_CHUNK", 2)
    assert log_loss(label, prediction) == pytest.approx(whole, rel=1e-15)
