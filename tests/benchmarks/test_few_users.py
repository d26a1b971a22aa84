from benchmarks.few_users import found
from mal_tf.evaluation.bootstrap import MIN_USERS


def test_one_user_always_looks_certain_and_enough_seldom_do():
    assert found(1, 0.0, trials=20, samples=100, seed=1) == 1.0
    assert found(MIN_USERS, 0.0, trials=300, samples=200, seed=1) < 0.12
