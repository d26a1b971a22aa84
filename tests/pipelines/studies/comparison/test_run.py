"""A whole comparison on the small project, in this process."""

import concurrent.futures
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mal_tf.evaluation.metrics import all_metrics
from pipelines.core import text_table
from pipelines.report import page
from pipelines.report.run_files import RunFiles
from pipelines.studies.comparison import report, tasks, trial
from pipelines.studies.comparison.config import load
from pipelines.studies.comparison.run import CLICKS, RESULTS, run
from tests.support.project import Project

CONFIG = {
    "name": "comparison",
    "run": "config.yaml",
    "overrides": ["labels.segment_hours=12"],
    "seeds": [1, 2],
    "tuning": {"learning_rates": [0.001, 0.01], "primary": "last"},
    "growth": {"bounds": [1], "segments": 2},
    "bootstrap_samples": 10,
    "rate_steps": 1,
    "truth": {"files": "truth.parquet", "caused": "caused", "oracles": ["p_caused"]},
    "comparisons": [
        {
            "name": "models",
            "models": ["mal"],
            "primaries": ["last"],
            "slices": ["path_length", "information_gain", "place"],
        },
        {"name": "sets", "models": ["mal"], "primaries": ["last"], "variants": {"auto": {"auxiliaries": "auto"}}},
    ],
}


def here(_):
    """A pool of one thread: processes would take seconds to load TensorFlow."""
    return concurrent.futures.ThreadPoolExecutor(1)


def linear_alone(one, labels, prepared, output):
    """Stands in for the trainings that `auto` takes."""
    gain = {"gain": 0.02, "low": 0.01, "high": 0.03, "chosen": True}
    return {"auxiliaries": ["linear"], "gains": {"linear": gain}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("comparison"))
    project.write()
    caused = np.random.default_rng(0).random(project.clicks.num_rows)
    truth = {"click_id": project.clicks["id"], "p_caused": caused, "caused": (caused > 0.6).astype(int)}
    pq.write_table(pa.table(truth), project.folder / "truth.parquet")
    path = project.folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    output = project.folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "choose", linear_alone)
        return path, output, run(*load(str(path)), str(output), make=here)


def trainings(output):
    """Directory of each training by what it is called."""
    return {json.loads((d / "manifest.json").read_text())["task"]: d for d in (output / "trainings").iterdir()}


def test_trains_what_is_asked_for_and_nothing_twice(finished):
    _, output, result = finished
    tuning = {f"{model}, last{beside}, rate {rate}" for model, beside in MODELS for rate in ("0.001", "0.01")}
    seeds = {f"{model}, last{beside}, seed {seed}" for model, beside in MODELS for seed in (1, 2)}
    assert set(trainings(output)) == tuning | seeds | {f"mal, last + linear, seed {seed}" for seed in (1, 2)}
    assert json.loads((output / RESULTS).read_text()) == result


MODELS = (("base", " + none"), ("mal", ""))


def test_rows_are_means_over_seeds_of_the_metrics_of_mature_evaluation_clicks(finished):
    _, output, result = finished
    frame = pd.read_parquet(output / CLICKS)
    found = trainings(output)
    for row in result["comparisons"][0]["rows"]:
        beside = dict(MODELS)[row["row"]]
        expected = []
        for seed in (1, 2):
            score = np.load(found[f"{row['row']}, last{beside}, seed {seed}"] / trial.PREDICTIONS)
            label = frame["label_last"].to_numpy(np.float64)
            expected.append(all_metrics(frame["user"].to_numpy(), label, score[frame["position"]]))
        for name in ("auc", "gauc", "log_loss", "pcoc"):
            assert row["metrics"][name] == pytest.approx(np.mean([one[name] for one in expected]))
        assert row["deviation"]["auc"] == pytest.approx(np.std([one["auc"] for one in expected], ddof=1))
        assert row["differences"]["all"]["all"]["auc"]["value"] == pytest.approx(row["metrics"]["auc"])


def test_each_model_has_the_rate_with_the_best_held_out_auc(finished):
    _, output, result = finished
    found = trainings(output)
    for model, beside in MODELS:
        tuned = result["tuning"][model]
        for rate, auc in tuned["auc"].items():
            directory = found[f"{model}, last{beside}, rate {float(rate):g}"]
            assert json.loads((directory / "manifest.json").read_text())["result"]["auc"] == auc
        assert tuned["auc"][str(tuned["learning_rate"])] == max(tuned["auc"].values())
    rows = result["comparisons"][0]["rows"]
    assert [row["learning_rate"] for row in rows] == [result["tuning"][row["row"]]["learning_rate"] for row in rows]


def test_chosen_auxiliaries_are_trained_and_told(finished):
    _, _, result = finished
    *_, rows, choice = map(text_table.markdown, report.tables(result))
    assert "| mal (auto): linear |" in rows
    assert "| linear | +2.000% | +1.000% | +3.000% | yes |" in choice


def test_the_truth_is_scored_like_a_model(finished):
    _, output, result = finished
    oracle = result["oracles"]["last"]["p_caused"]
    assert oracle["caused_auc"] == 1.0
    frame = pd.read_parquet(output / CLICKS)
    both = ((frame["label_last"] > 0) & (frame["caused"] > 0)).sum()
    expected = 1 - both / (frame["label_last"] > 0).sum(), both / (frame["caused"] > 0).sum()
    found = result["causes"]["last"]
    assert (found["without_cause"], found["causes_found"]) == pytest.approx(expected)
    assert oracle["clicks"] == result["comparisons"][0]["rows"][0]["metrics"]["clicks"]
    models, *_ = (t for t in report.tables(result) if t.title == "models: primary target last")
    assert models.rows[-1][0] == "truth: p_caused" and len(models.rows[-1]) == len(models.columns)


def test_slices_hold_the_clicks_once(finished):
    _, _, result = finished
    parts = result["comparisons"][0]["slices"]["last"]
    clicks, positives = (result["comparisons"][0]["rows"][0]["metrics"][name] for name in ("clicks", "positives"))
    assert sum(part["clicks"] for part in parts["place"].values()) == clicks
    assert sum(part["clicks"] for part in parts["information_gain"].values()) == clicks
    assert sum(part["positives"] for part in parts["path_length"].values()) == positives


def test_again_does_nothing(finished, monkeypatch):
    path, output, result = finished
    monkeypatch.setattr(tasks, "_run", None)
    assert run(*load(str(path)), str(output), make=here) == result


def test_tables_have_every_row_and_slice(finished):
    _, _, result = finished
    shown = "\n".join(map(text_table.markdown, report.tables(result)))
    for words in (
        "### models: primary target last\n",
        "Δ GAUC by information_gain",
        "| 4 or more |",
        "| base | ",
        "paired bootstrap over users and over trainings (10 resamples)",
        "± their standard deviation",
    ):
        assert words in shown


def test_the_report_has_its_tables_and_its_differences_drawn(finished):
    _, output, _ = finished
    text = page.render([RunFiles(str(output))], str(output))
    assert re.findall(r'<h2 id="(\w+)-title">', text) == ["verdict", "comparison", "labels", "data", "made"]
    assert "models, primary target last" in text and "Differences from base. mal: GAUC" in text
    assert "A file is not as expected" not in text
