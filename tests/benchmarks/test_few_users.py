from benchmarks.few_users import false_positive_rate
from mal_tf.evaluation.bootstrap import MIN_USERS


def test_one_user_always_looks_certain_and_enough_seldom_do():
    assert false_positive_rate(1, 0.0, trials=20, samples=100, seed=1) == 1.0
    assert false_positive_rate(MIN_USERS, 0.0, trials=300, samples=200, seed=1) < 0.12
