import json

import numpy as np
import pytest

from features.errors import Busy, MalTfError
from pipelines.cli.studies import replay as command
from pipelines.core import locks
from pipelines.studies.replay import designs
from pipelines.studies.replay.config import load
from pipelines.studies.replay.intervals import MEASURES
from pipelines.studies.replay.run import PAIRED, RESULTS, SPLIT, _Replay, run


def test_results_are_written_and_the_same_again(replay, finished, tmp_path):
    output, result = finished
    assert json.loads((output / RESULTS).read_text()) == result
    run(*load(replay), str(tmp_path))
    assert (tmp_path / RESULTS).read_bytes() == (output / RESULTS).read_bytes()


def test_budgets_hold_and_the_truth_buys_better(finished):
    _, result = finished
    for arms in result["designs"].values():
        assert all(0.5 < arm["spent"] <= 1 and arm["most_spent"] <= 1 for arm in arms.values())
    roi = {name: arm["industries"]["all"]["roi"] for name, arm in result["designs"][PAIRED].items()}
    assert 0 < roi["oracle"]["lift"] < roi["oracle"]["lift_high"]
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


def test_chance_leaves_out_what_is_not_defined(replay, market, monkeypatch):
    """The base arm has nothing in any split."""
    config = load(replay)[0]
    of = _Replay(config, market)
    nothing = {name: np.zeros((1 + config.samples, len(config.arms), 3)) for name in MEASURES}
    monkeypatch.setattr(designs, "run", lambda *_: (None, None))
    monkeypatch.setattr(of, "_measures", lambda *_: nothing)
    found = of.chance(market.clicks.orders)
    assert found["covered"] == found["deviation"] == dict.fromkeys(MEASURES)


def test_the_command_holds_its_directory_and_takes_earlier_outputs_away(replay, tmp_path):
    """A replay that fails leaves no pictures of another beside its own nothing."""
    for name in ("results.md", "industries.svg", "kept.txt"):
        (tmp_path / name).write_text("earlier")
    with locks.lock(str(tmp_path)), pytest.raises(Busy, match="in use by process"):
        command(replay, [], str(tmp_path))
    assert (tmp_path / "results.md").read_text() == "earlier"
    with pytest.raises(MalTfError, match="warm_up_days"):
        command(replay, ["warm_up_days=9"], str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "kept.txt"]
    command(replay, [], str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} >= {RESULTS, "results.md", "lifts.svg", "industries.svg"}
