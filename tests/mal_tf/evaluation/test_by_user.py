import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mal_tf.evaluation import by_user, draws, exact
from mal_tf.evaluation.metrics import metrics_or_nan
from tests.mal_tf.evaluation.split_clicks import CLICKS, RATIOS, SEED, columns, hashed, users

COUNTS = {"clicks": by_user.CLICKS, "positives": by_user.POSITIVES, "gauc_users": by_user.BOTH_USERS}


def local(user, label, prediction):
    return metrics_or_nan(np.unique(user, return_inverse=True)[1], label, prediction)


@given(CLICKS, st.integers(1, 4))
def test_groups_have_the_metrics_of_their_clicks(clicks, shards):
    user, group, label, prediction = columns(clicks)
    found = users(user, group, label, prediction, shards)
    for number in range(2):
        mine = group == number
        expected = local(user[mine], label[mine], prediction[mine])
        for name, column in COUNTS.items():
            assert exact.number(found.whole[number, column]) == expected[name]
        assert exact.number(found.whole[number, by_user.USERS]) == np.unique(user[mine]).size
        for metric, values in zip(RATIOS, found.ratios(number), strict=True):
            assert values[0] == pytest.approx(expected[metric.name], rel=1e-12, nan_ok=True)


@given(CLICKS, st.integers(2, 4), st.randoms())
def test_sums_do_not_depend_on_shards_and_order(clicks, shards, random):
    once = users(*columns(clicks), samples=5)
    random.shuffle(clicks)
    again = users(*columns(clicks), shards, samples=5)
    assert once.whole.tolist() == again.whole.tolist()
    assert once.drawn.tolist() == again.drawn.tolist()


@given(CLICKS)
def test_a_resample_is_the_metrics_of_the_drawn_users_clicks(clicks):
    user, group, label, prediction = columns(clicks)
    found = users(user, group, label, prediction, 2, samples=3)
    for sample in range(3):
        times = draws.poisson(hashed(user), SEED, np.array([sample]))[:, 0]
        # Each draw of a user is a user of its own to GAUC.
        copies = np.concatenate([user + 100 * copy for copy in range(times.max(initial=0) + 1)])
        drawn = np.concatenate([copy < times for copy in range(times.max(initial=0) + 1)])
        for number in range(2):
            mine = drawn & (np.resize(group, drawn.size) == number)
            if mine.any():
                some = (np.resize(values, drawn.size)[mine] for values in (label, prediction))
                expected = local(copies[mine], *some)
                for metric, values in zip(RATIOS, found.ratios(number), strict=True):
                    value = values[1 + sample]
                    assert value == pytest.approx(expected[metric.name], rel=1e-6, abs=1e-6, nan_ok=True)
            else:
                assert np.isnan(found.ratios(number)[:, 1 + sample]).all()
