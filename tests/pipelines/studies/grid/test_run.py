"""A whole grid of two tiny markets, in this process."""

import concurrent.futures
import json

import pytest
import yaml

from features.errors import MalTfError
from pipelines.core.layout import BENCHMARK
from pipelines.studies.grid.config import GridConfig
from pipelines.studies.grid.run import run

MARKET = {
    "users": 120,
    "clicks": 1500,
    "days": 10,
    "window_hours": 24,
    "eval_days": 2,
    "present_at_start": 1.0,
    "products_per_industry": 4,
    "industries": [
        {
            "name": "food",
            "share": 1,
            "clicks_per_interest": 3,
            "interest_hours": 24,
            "carry_over_hours": 12,
            "conversions_per_click": 0.05,
            "conversions_per_interest": 0.5,
            "price": 20,
        }
    ],
    "channels": [{"name": "search", "share": 1, "effect": 1}],
    "groups": [{"name": "all", "share": 1, "activity": 1, "base_intent": 1}],
}

CONFIG = {
    "name": "grid",
    "market": "market.yaml",
    "overrides": ["model.embedding_dim=2", "model.bottom_units=[4]", "model.tower_units=[4]", "model.fusion_units=[4]"],
    "seeds": [1],
    "bootstrap_samples": 20,
    "rate_steps": 0,
    "growth": {"segments": 1},
    "comparisons": [{"name": "Growth", "models": ["mal"], "primaries": ["last"]}],
    "markets": {
        "many": {
            "short": ["industries.0.clicks_per_interest=1"],
            "long": [],
        }
    },
}


def here(_):
    """A pool of one thread: processes would take seconds to load TensorFlow."""
    return concurrent.futures.ThreadPoolExecutor(1)


def write(folder, **changes):
    (folder / "market.yaml").write_text(yaml.safe_dump(MARKET))
    (folder / "grid.yaml").write_text(yaml.safe_dump(CONFIG | changes, sort_keys=False))
    return GridConfig.load(str(folder / "grid.yaml"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    config = write(folder)
    return config, folder / "out", run(config, str(folder / "out"), make=here)


@pytest.mark.slow
def test_each_market_has_what_its_labels_say_and_the_differences(finished):
    _, output, result = finished
    short, long = result["markets"]
    assert (short["group"], short["name"], long["name"]) == ("many", "short", "long")
    assert 1 < short["labels"]["growth"] < long["labels"]["growth"]
    assert short["labels"]["longer_journeys"] < long["labels"]["longer_journeys"]
    for market in result["markets"]:
        counts = json.loads((output / "many" / market["name"] / "benchmark/labels/label_report.json").read_text())
        assert market["labels"]["positives"] == counts["splits"]["train"]["mechanisms"]["last"]["positives"]
        assert [row["row"] for row in market["comparisons"][0]["rows"]] == ["base", "mal"]
    written = json.loads((output / "many/long/benchmark/benchmark.json").read_text())
    assert written["overrides"] == CONFIG["overrides"]


@pytest.mark.slow
def test_nothing_finished_is_repeated(finished):
    config, output, result = finished

    def times():
        kept = [*output.rglob("logs/*.parquet"), *output.rglob("predictions.npy"), *output.rglob("*.gz")]
        return {path: path.stat().st_mtime_ns for path in kept}

    before = times()
    assert {path.suffix for path in before} == {".parquet", ".npy", ".gz"}
    assert run(config, str(output), make=here) == result
    assert times() == before


def test_what_does_not_fit_is_refused_before_any_training(tmp_path):
    with pytest.raises(MalTfError, match="expected a directory for a grid"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / BENCHMARK).write_text("{}")
        run(write(tmp_path), str(tmp_path / "other"), make=here)
    wrong = write(tmp_path, overrides=["model.no_such_key=1"])
    with pytest.raises(MalTfError, match="no_such_key"):
        run(wrong, str(tmp_path / "out"), make=here)
    assert not (tmp_path / "out/many/short/benchmark").exists()
    with pytest.raises(MalTfError, match=r"markets.many.\.\./up"):
        write(tmp_path, markets={"many": {"../up": []}})
