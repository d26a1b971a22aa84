import numpy as np
import pytest

from mal_tf.evaluation import bootstrap
from mal_tf.evaluation.bootstrap import (
    METRICS,
    Scored,
    _WeightedAuc,
    differences,
    enough_users,
    p_value,
    resampled,
    resampled_together,
)
from mal_tf.evaluation.metrics import auc, gauc, log_loss, pcoc, per_user

GENERATOR = np.random.default_rng(0)
USER = np.concatenate([np.arange(50), GENERATOR.integers(0, 50, 950)])
LABEL = GENERATOR.choice([0, 0, 0, 0.5, 1], 1000)
WORSE = GENERATOR.integers(0, 20, 1000) / 20
BETTER = 0.5 * WORSE + 0.5 * (LABEL > 0)


def paired(second, samples, seed):
    """Differences of AUC and GAUC to `WORSE`."""
    one, other = (resampled(USER, LABEL, prediction, samples, seed) for prediction in (WORSE, second))
    return differences([one], [other])


def test_a_model_does_not_differ_from_itself():
    nothing = {"difference": 0, "low": 0, "high": 0, "p": 1}
    assert paired(WORSE, 20, 1) == {"auc": nothing, "gauc": nothing}


def test_better_model_is_found_and_the_sign_follows_the_order():
    worse, better = (resampled(USER, LABEL, prediction, 100, 1) for prediction in (WORSE, BETTER))
    there, back = differences([worse], [better]), differences([better], [worse])
    for name in ("auc", "gauc"):
        assert 0 < there[name]["low"] < there[name]["difference"] < there[name]["high"]
        assert back[name]["low"] == pytest.approx(-there[name]["high"])
    assert there["auc"]["difference"] == pytest.approx(auc(LABEL, BETTER) - auc(LABEL, WORSE))
    expected = gauc(per_user(USER, LABEL, BETTER)) - gauc(per_user(USER, LABEL, WORSE))
    assert there["gauc"]["difference"] == pytest.approx(expected)


def test_seed_decides():
    first, same, other = (paired(BETTER, 50, seed) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_weighted_auc_is_the_auc_of_the_drawn_users_clicks():
    times = np.random.default_rng(3).integers(0, 4, 50)
    drawn = np.repeat(np.arange(USER.size), times[USER])
    assert _WeightedAuc(USER, LABEL, WORSE)(times) == pytest.approx(auc(LABEL[drawn], WORSE[drawn]))


def test_each_resample_is_the_metrics_of_the_drawn_users_clicks(monkeypatch):
    """Every draw of three users, by the number of times that each is drawn."""
    monkeypatch.setattr(bootstrap, "MIN_USERS", 1)
    user, label = np.array([0, 0, 1, 2, 2]), np.array([1.0, 0, 0.5, 0, 1])
    prediction = np.array([0.4, 0.3, 0.2, 0.6, 0.1])
    found = resampled(user, label, prediction, 50, 3, ("log_loss", "pcoc"))
    clicks = np.arange(5)
    draws = [(a, b, 3 - a - b) for a in range(4) for b in range(4 - a)]
    drawn = [np.repeat(clicks, np.array(times)[user]) for times in draws]
    of_draws = {(log_loss(label[d], prediction[d]), pcoc(label[d], prediction[d])) for d in drawn}
    pairs = list(zip(found["log_loss"], found["pcoc"], strict=True))
    assert pairs[0] == pytest.approx((log_loss(label, prediction), pcoc(label, prediction)))
    assert all(any(pair == pytest.approx(known) for known in of_draws) for pair in pairs)
    assert len(set(pairs)) > 5


def test_interval_is_about_as_wide_as_the_spread_over_users():
    noise = WORSE + np.random.default_rng(4).normal(0, 0.3, 1000)
    found = paired(noise, 400, 1)
    by_user = [per_user(USER, LABEL, prediction) for prediction in (WORSE, noise)]
    gain = by_user[1].auc - by_user[0].auc
    both = ~np.isnan(gain)
    weight = by_user[0].clicks[both] / by_user[0].clicks[both].sum()
    error = np.sqrt((weight**2 * (gain[both] - found["gauc"]["difference"]) ** 2).sum())
    assert found["gauc"]["high"] - found["gauc"]["low"] == pytest.approx(2 * 1.96 * error, rel=0.2)


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


def test_p_is_small_where_the_interval_lies_off_zero():
    noise = WORSE + np.random.default_rng(4).normal(0, 0.02, 1000)
    for second in (BETTER, noise):
        for found in paired(second, 400, 1).values():
            assert (found["p"] < 0.05) == (found["low"] > 0 or found["high"] < 0)


def test_a_metric_of_few_users_has_no_resamples():
    """100 users, all with negatives: 31 with positives, of which 1 has positives alone."""
    user = np.concatenate([np.arange(100), np.arange(31)])
    label = np.concatenate([np.zeros(99), [1.0], np.ones(31)])
    label[30] = 1.0
    found = resampled(user, label, np.linspace(0.1, 0.9, 131), 5, 1, METRICS)
    assert all(np.isfinite(values).all() for values in found.values())
    few = np.isin(user, np.arange(2, 31), invert=True)  # 2 with both, 1 with positives alone, 68 with negatives.
    found = resampled(user[few], label[few], np.linspace(0.1, 0.9, 131)[few], 5, 1, METRICS)
    assert all(np.isfinite(values[0]) for values in found.values())
    assert all(np.isnan(values[1:]).all() for values in found.values())


def test_each_metric_rests_on_the_users_that_it_needs():
    assert enough_users(users=1000, positive=30, both=29) == {
        "auc": True,
        "gauc": False,
        "log_loss": True,
        "pcoc": True,
    }
    assert enough_users(users=40, positive=40, both=29) == {"auc": False, "gauc": False, "log_loss": True, "pcoc": True}
    assert enough_users(users=1000, positive=29, both=29) == dict.fromkeys(METRICS, False)


def test_parts_of_the_clicks_are_resampled_with_the_users_of_all(monkeypatch):
    monkeypatch.setattr(bootstrap, "MIN_USERS", 1)
    part = USER % 3 == 0
    whole, some = Scored(USER, LABEL, WORSE), Scored(USER[part], LABEL[part], WORSE[part])
    found = resampled_together(50, {"whole": whole, "part": some}, 20, 7)
    alone = resampled(*whole, 20, 7, METRICS)
    for name in METRICS:
        np.testing.assert_array_equal(found["whole"][name], alone[name])
    generator = np.random.default_rng(7)
    times = np.bincount(generator.integers(50, size=50), minlength=50)
    drawn = np.repeat(np.flatnonzero(part), times[USER[part]])
    assert found["part"]["auc"][1] == pytest.approx(auc(LABEL[drawn], WORSE[drawn]))
    assert found["part"]["pcoc"][1] == pytest.approx(pcoc(LABEL[drawn], WORSE[drawn]))
