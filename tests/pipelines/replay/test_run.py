import json

from pipelines.replay.config import load
from pipelines.replay.run import PAIRED, RESULTS, SPLIT, run


def test_results_are_written_and_the_same_again(replay, finished, tmp_path):
    output, result = finished
    assert json.loads((output / RESULTS).read_text()) == result
    run(*load(replay), str(tmp_path))
    assert (tmp_path / RESULTS).read_bytes() == (output / RESULTS).read_bytes()


def test_budgets_hold_and_the_truth_is_best(finished):
    _, result = finished
    for arms in result["designs"].values():
        assert all(0.5 < arm["spent"] <= 1 and arm["most_spent"] <= 1 for arm in arms.values())
    roi = {name: arm["industries"]["all"]["roi"] for name, arm in result["designs"][PAIRED].items()}
    assert roi["oracle"]["lift_low"] > 0
    assert roi["constant"]["lift"] == 0


def test_each_user_is_in_one_arm_or_in_all(finished):
    _, result = finished
    clicks = result["clicks"]
    for design, times in ((PAIRED, 4), (SPLIT, 1)):
        arms = result["designs"][design].values()
        assert sum(arm["users"] for arm in arms) == times * clicks["users"]
        assert sum(arm["clicks"] for arm in arms) == times * clicks["counted"]


def test_the_same_model_in_all_arms_differs_by_chance(finished):
    chance = finished[1]["chance"]
    assert (chance["splits"], chance["intervals"]) == (2, 6)
    assert all(0 <= share <= 1 for share in chance["covered"].values())
    assert chance["deviation"]["gmv"] > 0
