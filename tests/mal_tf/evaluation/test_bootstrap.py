import numpy as np
import pytest

from mal_tf.evaluation import bootstrap, draws
from mal_tf.evaluation.bootstrap import Scored, resampled, resampled_together, too_few
from mal_tf.evaluation.judgement import differences
from mal_tf.evaluation.metrics import additive_metrics, auc, gauc, log_loss, pcoc, per_user

GENERATOR = np.random.default_rng(0)
USER = np.concatenate([np.arange(50), GENERATOR.integers(0, 50, 950)])
LABEL = GENERATOR.choice([0, 0, 0, 0.5, 1], 1000)
WORSE = GENERATOR.integers(0, 20, 1000) / 20
BETTER = 0.5 * WORSE + 0.5 * (LABEL > 0)
HASHED = GENERATOR.integers(0, 2**64, 50, np.uint64)
METRICS = tuple(additive_metrics())


def paired(second, samples, seed):
    """Differences of AUC and GAUC to `WORSE`."""
    one, other = (
        resampled(HASHED, Scored(USER, LABEL, prediction), samples, seed, ("auc", "gauc"))
        for prediction in (WORSE, second)
    )
    return differences([one], [other])


def test_a_model_does_not_differ_from_itself():
    nothing = {"difference": 0, "low": 0, "high": 0, "p": 1}
    assert paired(WORSE, 20, 1) == {"auc": nothing, "gauc": nothing}


def test_better_model_is_found_and_the_sign_follows_the_order():
    worse, better = (resampled(HASHED, Scored(USER, LABEL, prediction), 100, 1) for prediction in (WORSE, BETTER))
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


def drawn_rows(hashed, user, seed, sample):
    """Rows of the clicks in a resample, as often as they are drawn."""
    times = draws.poisson(hashed, seed, np.array([sample]))[:, 0]
    return np.repeat(np.arange(user.size), times[user])


def test_each_resample_is_the_metrics_of_the_drawn_users_clicks():
    values = resampled(HASHED, Scored(USER, LABEL, WORSE), 20, 3)
    assert {name: of.size for name, of in values.items()} == dict.fromkeys(METRICS, 21)
    for sample in (0, 15, 16, 19):  # In more than one block.
        rows = drawn_rows(HASHED, USER, 3, sample)
        some = LABEL[rows], WORSE[rows]
        assert values["auc"][1 + sample] == pytest.approx(auc(*some), rel=1e-12)
        assert values["log_loss"][1 + sample] == pytest.approx(log_loss(*some), rel=1e-6)
        assert values["pcoc"][1 + sample] == pytest.approx(pcoc(*some), rel=1e-6)
        times = np.bincount(USER[rows], minlength=50) / np.bincount(USER)
        by_user = per_user(USER, LABEL, WORSE)
        both = ~np.isnan(by_user.auc)
        weight = (times * by_user.clicks)[both]
        assert values["gauc"][1 + sample] == pytest.approx(weight @ by_user.auc[both] / weight.sum(), rel=1e-6)


def test_the_clicks_as_they_are_come_first():
    values = resampled(HASHED, Scored(USER, LABEL, WORSE), 0, 3)
    by_user = gauc(per_user(USER, LABEL, WORSE))
    expected = [auc(LABEL, WORSE), by_user, log_loss(LABEL, WORSE), pcoc(LABEL, WORSE)]
    assert [values[name].tolist() for name in METRICS] == [[pytest.approx(one)] for one in expected]


def test_interval_is_about_as_wide_as_the_spread_over_users():
    noise = WORSE + np.random.default_rng(4).normal(0, 0.3, 1000)
    found = paired(noise, 400, 1)
    by_user = [per_user(USER, LABEL, prediction) for prediction in (WORSE, noise)]
    gain = by_user[1].auc - by_user[0].auc
    both = ~np.isnan(gain)
    weight = by_user[0].clicks[both] / by_user[0].clicks[both].sum()
    error = np.sqrt((weight**2 * (gain[both] - found["gauc"]["difference"]) ** 2).sum())
    assert found["gauc"]["high"] - found["gauc"]["low"] == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_a_metric_of_few_users_has_no_resamples():
    """100 users, all with negatives: 31 with positives, of which 1 has positives alone."""
    user = np.concatenate([np.arange(100), np.arange(31)])
    label = np.concatenate([np.zeros(99), [1.0], np.ones(31)])
    label[30] = 1.0
    hashed, prediction = np.arange(100, dtype=np.uint64), np.linspace(0.1, 0.9, 131)
    found = resampled(hashed, Scored(user, label, prediction), 5, 1)
    assert all(np.isfinite(values).all() for values in found.values())
    few = np.isin(user, np.arange(2, 31), invert=True)  # 2 with both, 1 with positives alone, 68 with negatives.
    found = resampled(hashed, Scored(user[few], label[few], prediction[few]), 5, 1)
    assert all(np.isfinite(values[0]) for values in found.values())
    assert all(np.isnan(values[1:]).all() for values in found.values())


@pytest.mark.parametrize(
    ("counts", "lacking"),
    [((1000, 30, 29), {"gauc"}), ((40, 40, 29), {"auc", "gauc"}), ((1000, 29, 29), set(METRICS))],
)
def test_each_metric_rests_on_the_users_that_it_needs(counts, lacking):
    assert {name for name, metric in additive_metrics().items() if too_few(metric, *counts)} == lacking


def test_parts_of_the_clicks_are_resampled_with_the_users_of_all(monkeypatch):
    monkeypatch.setattr(bootstrap, "MIN_USERS", 1)
    part = USER % 3 == 0
    whole, some = Scored(USER, LABEL, WORSE), Scored(USER[part], LABEL[part], WORSE[part])
    found = resampled_together(HASHED, {"whole": whole, "part": some}, 20, 7)
    alone = resampled(HASHED, whole, 20, 7)
    for name in METRICS:
        np.testing.assert_array_equal(found["whole"][name], alone[name])
    rows = drawn_rows(HASHED, USER, 7, 0)
    rows = rows[part[rows]]
    assert found["part"]["auc"][1] == pytest.approx(auc(LABEL[rows], WORSE[rows]))
    assert found["part"]["pcoc"][1] == pytest.approx(pcoc(LABEL[rows], WORSE[rows]))


def test_a_metric_that_does_not_add_up_can_not_be_resampled():
    with pytest.raises(KeyError, match="ece"):
        resampled(HASHED, Scored(USER, LABEL, WORSE), 1, 1, ["ece"])
