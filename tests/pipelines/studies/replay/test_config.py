import pathlib

import pytest
import yaml

from features.errors import MalTfError
from pipelines.studies.replay.config import ReplayConfig, load

EXAMPLE = pathlib.Path(__file__).parents[4] / "examples/replay/market.yaml"
ARMS = [{"name": "base", "models": ["out"]}, {"name": "oracle", "truth": "p_caused"}]
BASIC = {"name": "x", "run": "out", "truth": "truth*.parquet", "advertiser": "place", "industry": "place", "arms": ARMS}


def written(project, **changes):
    project.write()
    (project.folder / "out").mkdir()
    (project.folder / "config.yaml").rename(project.folder / "out/config.yaml")
    path = project.folder / "replay.yaml"
    path.write_text(yaml.safe_dump(BASIC | changes))
    return str(path)


def test_paths_are_relative_to_the_file(project):
    found, run = load(written(project))
    assert (found.run, found.truth) == (f"{project.folder}/out", f"{project.folder}/truth*.parquet")
    assert found.arms[0].models == (f"{project.folder}/out",)
    assert (found.base, found.replays, run.name) == (0, 1, "small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": [{"name": "a"}, ARMS[1]]}, "arm 'a': expected exactly one of models, truth and constant, found none"),
        (
            {"arms": [ARMS[0] | {"constant": 0.1}, ARMS[1]]},
            "'base': expected exactly one .*, found models and constant",
        ),
        ({"arms": [ARMS[0], ARMS[0]]}, "names must differ, found: base, base"),
        ({"arms": ARMS[:1]}, "arms: Tuple should have at least 2 items"),
        (
            {"arms": [ARMS[0], {"name": "mal", "models": ["a", "b"]}]},
            "the same number of trainings of each model, found 1 of 'base' and 2 of 'mal'",
        ),
        ({"against": "mal"}, "unknown arm 'mal'; available: base, oracle"),
        ({"pacing": {"slot_minutes": 7}}, "expected a divisor of a day's 1440 minutes, found 7"),
        ({"pacing": {"first": 2}}, "first: expected at most highest, 1, found 2"),
        ({"pacing": {"gian": 2}}, "unknown key 'gian'; did you mean 'gain'"),
        ({"advertiser": "shop"}, "advertiser: 'shop' is not a feature .*; available: place, item"),
        ({"value": "place"}, "value: 'place' is not a feature .*; available: price"),
        ({"run": "elsewhere"}, "elsewhere/config.yaml; see docs/replay.md"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(project, changes, message):
    with pytest.raises(MalTfError, match=message):
        load(written(project, **changes))


def test_the_example_is_a_replay():
    found = ReplayConfig.load(str(EXAMPLE))
    assert {arm.name for arm in found.arms} >= {"base", "mal", "expected_credit", "constant"}
