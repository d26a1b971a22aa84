import numpy as np
import pytest
import scipy.sparse

from mal_tf.evaluation.judgement import lifts
from pipelines.studies.replay import intervals
from pipelines.studies.replay.intervals import ALL, amounts, measures, summarize


def totals(matrix, samples, seed):
    hashed = np.random.default_rng(5).integers(0, 2**64, matrix.shape[0], np.uint64)
    return intervals.totals(matrix, hashed, samples, seed)


def test_sums_of_the_users_as_they_are_then_of_resamples():
    random = np.random.default_rng(0)
    values = random.exponential(size=(400, 2))
    found = totals(scipy.sparse.csr_matrix(values), 1020, seed=3)
    assert found.shape == (1021, 2)
    assert found[0] == pytest.approx(values.sum(axis=0))
    # The mean and the standard deviation of a bootstrapped sum are known.
    deviation = np.sqrt((values**2).sum(axis=0))  # Draws are independent, of variance 1.
    assert found[1:].mean(axis=0) == pytest.approx(values.sum(axis=0), abs=4 * deviation.max() / np.sqrt(1020))
    assert found[1:].std(axis=0) == pytest.approx(deviation, rel=0.1)


def matrix():
    """Two trainings, two arms, two industries; three users, of whom the third bought nothing."""
    bought = [
        # user, training, arm, industry, gmv, orders, spend
        (0, 0, 0, 0, 8.0, 1.0, 2.0),
        (0, 0, 0, 1, 4.0, 1.0, 2.0),
        (1, 0, 1, 0, 9.0, 2.0, 2.0),
        (0, 1, 0, 0, 4.0, 2.0, 2.0),
        (1, 1, 1, 0, 3.0, 2.0, 4.0),
        (1, 1, 1, 0, 2.0, 1.0, 1.0),
    ]
    user, training, arm, industry, *values = np.array(bought).T
    column = ((training * 2 + arm) * 2 + industry).astype(int)
    member = np.array([[True, False, True], [False, True, False]])
    return amounts(user.astype(int), column, np.array(values), member, 8)


def test_measures_are_per_1000_users_of_the_arm_and_means_over_trainings():
    found = measures(totals(matrix(), 5, seed=0), 2, 2, 2, seed=0)
    # Two users are the first arm's, one is the second's.
    gmv = [[(12 + 4) / 2 / 2, (8 + 4) / 2 / 2, 4 / 2 / 2], [(9 + 5) / 2, (9 + 5) / 2, 0]]
    assert found["gmv"][0] == pytest.approx(1000 * np.array(gmv))
    assert found["orders"][0] == pytest.approx(1000 * np.array([[1, 0.75, 0.25], [2.5, 2.5, 0]]))
    roi = [[16 / 6, 12 / 4, 4 / 2], [14 / 7, 14 / 7, np.nan]]
    assert found["roi"][0] == pytest.approx(np.array(roi), nan_ok=True)


def test_differences_are_relative_to_the_base_and_null_where_undefined():
    of_measure = {
        "roi": np.array([[[2.0, 1.0], [3.0, np.nan]], [[2.0, 1.0], [2.0, np.nan]], [[1.0, 1.0], [2.0, np.nan]]])
    }
    found = summarize(of_measure, 0, ["a", "b"], ["x"])
    assert found["a"][ALL]["roi"] == {"value": 2, "low": 1.025, "high": 1.975, "lift": 0, "lift_low": 0, "lift_high": 0}
    b = found["b"][ALL]["roi"]
    assert (b["lift"], b["lift_low"], b["lift_high"]) == pytest.approx((0.5, 0.025, 0.975))
    assert set(found["b"]["x"]["roi"].values()) == {None}


def test_drawing_trainings_widens_the_interval_of_models_that_differ_between_them():
    random = np.random.default_rng(1)
    users, member = 2000, np.ones((2, 2000), bool)

    def spread(of_trainings):
        """Of the second arm's GMV over the first's."""
        user = np.tile(np.arange(users), 6)
        training, arm = np.repeat(np.tile(np.arange(3), 2), users), np.repeat([0, 1], 3 * users)
        gmv = random.exponential(size=user.size) * np.where(arm == 1, np.array(of_trainings)[training], 1)
        values = np.array([gmv, gmv, np.ones(gmv.size)])
        found = measures(totals(amounts(user, training * 2 + arm, values, member, 6), 200, 0), 3, 2, 1, 0)
        return lifts(found["gmv"], 0)[1:, 1, 0].std()

    assert spread([0.8, 1.0, 1.2]) > 2 * spread([1.0, 1.0, 1.0])


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_equal_arms_cover_0_as_often_as_they_should(paired):
    """Users whose purchases have nothing to do with the arm that they are in; paired arms buy the same."""
    covered = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        users = 300
        arm = random.integers(2, size=users)
        member = np.ones((2, users), bool) if paired else arm == np.arange(2)[:, None]
        user = np.tile(np.arange(users), 2) if paired else np.arange(users)
        column = np.repeat([0, 1], users) if paired else arm
        gmv = np.tile(random.exponential(size=users), user.size // users)
        found = totals(amounts(user, column, np.array([gmv, gmv, gmv]), member, 2), 200, seed)
        lift = lifts(measures(found, 1, 2, 1, seed)["gmv"], 0)[:, 1, 0]
        low, high = np.percentile(lift[1:], [2.5, 97.5])
        covered.append(low <= 0 <= high)
        if paired:
            assert low == high == 0
    assert 0.88 <= np.mean(covered) <= 1
