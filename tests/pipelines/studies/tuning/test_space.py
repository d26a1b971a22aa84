"""The values that a search tries, on a cheap function in place of trainings."""

import math

import numpy as np
import pytest
import yaml

from features.errors import MalTfError
from pipelines.config.run import RunConfig
from pipelines.config.tuning import Interval
from pipelines.studies.tuning.space import propose, space, with_values
from tests.support.project import CONFIG

SPACE = {
    "training.learning_rate": Interval(low=1e-4, high=1e-1, log=True),
    "training.batch_size": Interval(low=1, high=9),
    "model.tower_units": ((64, 32), (16,)),
}


def config(**tuning):
    return RunConfig.model_validate(CONFIG | {"tuning": tuning})


def cost(values):
    """Least at a rate of .01, a batch size of 4 and the narrow tower."""
    rate, size, units = values.values()
    return math.log10(rate / 0.01) ** 2 + 0.1 * (size - 4) ** 2 + len(units)


def searched(trials, seed=0):
    tried = []
    for number in range(trials):
        values = propose(SPACE, tried, "log_loss", seed + number)
        tried.append((values, cost(values)))
    return tried


def test_the_search_comes_closer_than_draws_at_random():
    generator = np.random.default_rng(0)
    drawn = [
        (
            10 ** generator.uniform(-4, -1),
            int(generator.integers(1, 10)),
            SPACE["model.tower_units"][generator.integers(2)],
        )
        for _ in range(60_000)
    ]
    costs = np.array([cost(dict(enumerate(values))) for values in drawn]).reshape(-1, 60).min(1)
    assert np.median([min(score for _, score in searched(60, seed)) for seed in (0, 1000, 2000)]) < np.median(costs)


def test_values_are_of_the_space_and_readable():
    for values, _ in searched(30):
        rate, size, units = values.values()
        assert 1e-4 <= rate <= 1e-1 and rate == float(f"{rate:.3g}")
        assert isinstance(size, int) and 1 <= size <= 9 and units in SPACE["model.tower_units"]


def test_the_same_trials_and_seed_give_the_same_proposal():
    tried = searched(20)
    assert searched(20) == tried
    assert propose(SPACE, tried, "log_loss", 5) == propose(SPACE, tried, "log_loss", 5)


def test_what_diverged_is_avoided():
    """Every rate above .01 diverges: few are proposed after some have."""
    tried = []
    for number in range(60):
        values = propose(SPACE, tried, "auc", number)
        tried.append((values, None if values["training.learning_rate"] > 0.01 else 0.6))
    diverged = [score is None for _, score in tried]
    assert sum(diverged[40:]) < sum(diverged[:20])


def test_by_default_the_space_lies_around_the_configs_own_values():
    found = space(config())
    rate = config().training.learning_rate
    assert found["training.learning_rate"] == Interval(low=rate / 10, high=rate * 10, log=True)
    size = config().training.batch_size
    assert found["training.batch_size"] == (size // 2, size, 2 * size, 4 * size)
    assert config().model.tower_units in found["model.tower_units"]
    assert {"training.auxiliary_weight", "training.cat_weight"} <= found.keys()
    base = RunConfig.model_validate(CONFIG | {"model": CONFIG["model"] | {"name": "base", "compare_with": []}})
    assert not {"training.auxiliary_weight", "training.cat_weight"} & space(base).keys()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"training.learning_rat": [0.1]}, "no key 'training.learning_rat'"),
        ({"model.fusion_units.0": [1]}, "no key 'model.fusion_units.0'"),
        ({"training.batch_size": [8, 0]}, "invalid with training.batch_size: 0: .*greater than or equal to 1"),
        ({"model.experts": [1, 2]}, "no key 'model.experts' for model 'mal'"),
    ],
)
def test_keys_and_values_are_checked_before_any_training(keys, message):
    with pytest.raises(MalTfError, match=message):
        space(config(space=keys))


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"space": {"labels.shards": [1]}}, "'labels.shards' can't be tuned"),
        ({"space": {"model.primary": ["first"]}}, "'model.primary' can't be tuned"),
        ({"space": {}}, "expected at least one key"),
        ({"space": {"training.learning_rate": []}}, "at least one item"),
        ({"space": {"training.learning_rate": {"low": 0.1, "high": 0.01}}}, "expected low below high"),
        ({"space": {"training.learning_rate": {"low": 0, "high": 0.01, "log": True}}}, "log: expected low above 0"),
        ({"metric": "pcoc"}, "'auc' or 'log_loss'"),
    ],
)
def test_a_block_that_makes_no_sense_is_an_error(tmp_path, tuning, message):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG | {"tuning": tuning}))
    with pytest.raises(MalTfError, match=message):
        RunConfig.load(str(path))


def test_other_values_leave_the_rest_of_the_config_alone():
    changed = with_values(config(), {"training.batch_size": 3, "model.tower_units": (5,)})
    before, after = config().model_dump(), changed.model_dump()
    assert (after["training"].pop("batch_size"), after["model"].pop("tower_units")) == (3, (5,))
    del before["training"]["batch_size"], before["model"]["tower_units"]
    assert after == before
