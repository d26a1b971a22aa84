"""A whole replay on the small project: models that are functions, a truth that is made up."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from features.errors import MalTfError
from features.keras2 import tf
from pipelines import config, text_table
from pipelines.comparison.clicks import read
from pipelines.replay import opportunities, report
from pipelines.replay.config import load
from pipelines.replay.run import PAIRED, RESULTS, SPLIT, run
from pipelines.run import Run
from tests.conftest import Project


class Rate(tf.Module):
    """Serves `factor` · the truth that stands in the table of click ids."""

    def __init__(self, truth, factor):
        self.truth, self.factor = tf.constant(truth, tf.float32), factor

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples):
        click = tf.io.parse_example(examples, {"click_id": tf.io.FixedLenFeature([], tf.int64)})["click_id"]
        return {"cvr": self.factor * tf.gather(self.truth, click)}


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """Path of the replay's file: run `out`, the truth and models that know it up to a factor."""
    project = Project(tmp_path_factory.mktemp("replay"))
    project.config["labels"] |= {"eval_from": "2023-11-16T00:00:00+00:00"}
    with Run(config.load(project.write()), str(project.folder / "out")).opened() as opened:
        opened.labels()
    truth = np.random.default_rng(0).lognormal(-4, 1, project.clicks.num_rows)
    table = {"click_id": project.clicks["id"], "expected_credit": truth, "other": truth[::-1]}
    pq.write_table(pa.table(table), project.folder / "truth.parquet")
    for name, factor in (("half", 0.5), ("whole", 1.0)):
        model = Rate(truth, factor)
        tf.saved_model.save(model, str(project.folder / "serving" / name / "7"), {"serving_default": model.serve})
    settings = {
        "name": "x",
        "run": "out",
        "truth": "truth.parquet",
        "advertiser": "place",
        "industry": "place",
        "warm_up_days": 0,
        "samples": 20,
        "aa_splits": 2,
        "pacing": {"highest": 10},
        "arms": [
            {"name": "constant", "constant": 0.03},
            {"name": "oracle", "truth": "expected_credit"},
            {"name": "whole", "models": ["serving/whole"]},
            {"name": "another", "model": "half", "models": ["."]},
        ],
    }
    path = project.folder / "replay.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.fixture(scope="module")
def finished(replay, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    return output, run(*load(replay), str(output))


def test_results_are_written_and_the_same_again(replay, finished, tmp_path):
    output, result = finished
    assert json.loads((output / RESULTS).read_text()) == result
    run(*load(replay), str(tmp_path))
    assert (tmp_path / RESULTS).read_bytes() == (output / RESULTS).read_bytes()


def test_models_bid_with_what_they_serve(finished):
    _, result = finished
    folder = result["config"]["run"].removesuffix("out")
    assert result["models"]["whole"] == [f"{folder}serving/whole/7"]
    assert result["models"]["another"] == [f"{folder}serving/half/7"]
    paired = result["designs"][PAIRED]
    bought = [paired[name]["bought"] for name in ("whole", "oracle", "another", "constant")]
    assert bought[0] == bought[1] not in bought[2:]  # it is float32, which decides nothing here
    assert paired["another"]["pace"] > paired["oracle"]["pace"]


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


def test_tables_say_what_the_results_are(finished):
    _, result = finished
    tables = {table.title: table for table in report.tables(result)}
    arms = tables["Every arm plays all users: arms"]
    row = dict(zip(arms.columns, arms.rows[1], strict=True))
    found = result["designs"][PAIRED]["oracle"]["industries"]["all"]
    assert row["arm"] == "oracle"
    assert row["ROI"] == f"{found['roi']['value']:,.3f}"
    low, high = found["gmv"]["lift_low"], found["gmv"]["lift_high"]
    assert row["Δ GMV to constant"] == f"{found['gmv']['lift']:+.1%} ({low:+.1%} … {high:+.1%})"
    by_industry = tables["Each arm plays its own users: orders by industry"]
    assert [row[0] for row in by_industry.rows] == ["feed", "side", "top"]
    assert len(tables) == 9
    assert "A simulation." in "\n".join(map(text_table.markdown, tables.values()))


def test_figures_are_drawn_alike_each_time(finished, tmp_path):
    _, result = finished
    for folder in ("a", "b"):
        paths = report.figures(result, str(tmp_path / folder))
    assert [path.rsplit("/", 1)[1] for path in paths] == ["lifts.svg", "industries.svg"]
    for name in ("lifts.svg", "industries.svg"):
        text = (tmp_path / "a" / name).read_text()
        assert text == (tmp_path / "b" / name).read_text()
        assert len(re.findall("<svg", text)) == 1


def test_what_is_missing_is_said(replay, tmp_path):
    for override, message in (
        ("arms.2.models=[nowhere]", "nowhere: expected a SavedModel or a directory of versions"),
        ("warm_up_days=2", "warm_up_days: 2 of 2 days leave none to count"),
        ("arms.1.truth=p_caused", "has no column 'p_caused'; it has: click_id, expected_credit, other"),
    ):
        with pytest.raises(MalTfError, match=message):
            run(*load(replay, [override]), str(tmp_path))


def test_a_click_without_value_can_not_be_sold(replay, tmp_path, monkeypatch):
    def without_prices(*arguments):
        frame = read(*arguments)
        frame.loc[:2, "price"] = np.nan
        return frame

    monkeypatch.setattr(opportunities, "read", without_prices)
    with pytest.raises(MalTfError, match="value: . of .* clicks have no 'price', which bids and prices need"):
        run(*load(replay), str(tmp_path))
