"""A whole search on the small project, in this process."""

import concurrent.futures
import json
import shlex
import shutil

import pytest

from features.errors import MalTfError
from mal_tf.evaluation import metrics
from pipelines.config.run import RunConfig, load
from pipelines.core import text_table
from pipelines.studies.comparison import trial
from pipelines.studies.tuning import report
from pipelines.studies.tuning.run import BEST, TRIALS, best, run
from tests.support.project import Project

TUNING = {"trials": 3, "space": {"training.learning_rate": [0.001, 0.003, 0.01, 0.03], "training.batch_size": [64]}}


def here(_):
    """A pool of one thread: processes would take seconds to load TensorFlow."""
    return concurrent.futures.ThreadPoolExecutor(1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("tuning"))
    project.config["tuning"] = TUNING
    project.config["labels"]["segment_hours"] = 12
    project.write()
    output = project.folder / "out"
    path = project.folder / "config.yaml"
    return path, output, run(load(str(path)), str(output), make=here)


def test_the_first_trial_has_the_configs_own_values_and_the_best_one_wins(finished):
    path, output, result = finished
    own, *others = result["trials"]
    assert own["values"]["training.learning_rate"] == load(str(path)).training.learning_rate
    assert all(one["values"]["training.learning_rate"] in TUNING["space"]["training.learning_rate"] for one in others)
    aucs = [one["auc"] for one in result["trials"]]
    assert aucs[result["best"]] == max(aucs) and all(0 < one["log_loss"] < 1 for one in result["trials"])
    assert json.loads((output / "tune" / TRIALS).read_text()) == json.loads(json.dumps(result))


def test_the_best_config_is_the_runs_with_the_best_values(finished):
    path, output, result = finished
    found, values = RunConfig.load(str(output / "tune" / BEST)), result["trials"][result["best"]]["values"]
    assert found.training.learning_rate == values["training.learning_rate"]
    restored = found.model_copy(update={"training": load(str(path)).training})
    assert restored == load(str(path))


def test_a_search_that_was_finished_trains_nothing_and_one_that_was_cut_off_goes_on_as_it_would_have(
    finished, monkeypatch
):
    path, output, result = finished
    newest = max((output / "tune/trainings").iterdir(), key=lambda one: (one / "manifest.json").stat().st_mtime_ns)
    shutil.rmtree(newest)
    trained, train = [], trial.run
    monkeypatch.setattr(trial, "run", lambda *arguments: (trained.append(arguments[0]), train(*arguments))[1])
    monkeypatch.setattr(trial, "prepare", None)
    assert run(load(str(path)), str(output), make=here) == result
    assert len(trained) == 1
    monkeypatch.setattr(trial, "run", None)
    assert run(load(str(path)), str(output), make=here) == result


def test_the_table_has_the_trials(finished):
    _, _, result = finished
    text = text_table.markdown(report.table(result))
    assert "| 1 (config) |" in text and "learning_rate" in text and "3 trials, 0 of which diverged" in text


def test_the_flags_give_a_config_the_values(finished):
    path, _, _ = finished
    values = {"training.learning_rate": 1e-05, "model.auxiliaries": ["linear"], "training.clip_norm": None}
    flags = shlex.split(report.flags({"best": 0, "trials": [{"values": values}]}))
    assert flags[::2] == ["--set"] * len(values)
    config = load(str(path), flags[1::2])
    assert (config.training.learning_rate, config.training.clip_norm) == (1e-05, None)
    assert config.model.auxiliaries == ("linear",)


def test_a_search_goes_on_while_all_trainings_diverge(finished, monkeypatch):
    path, output, _ = finished
    results = iter(
        [{"auc": None, "log_loss": None, "diverged": "loss is not finite"}] * 5 + [{"auc": 0.6, "log_loss": 0.2}]
    )
    monkeypatch.setattr(trial, "prepare", lambda *arguments: None)
    monkeypatch.setattr(trial, "run", lambda *arguments: next(results))
    config = load(
        str(path),
        ["training.batch_size=32", "tuning.trials=6", "tuning.space={training.learning_rate: {low: 1, high: 9.5}}"],
    )
    found = run(config, str(output), make=here)
    assert found["best"] == 5 and found["trials"][5]["auc"] == 0.6


def test_without_any_metric_there_is_no_best():
    tried = [{"auc": None, "log_loss": 0.2}, {"auc": 0.5, "log_loss": 0.1}, {"auc": 0.5, "log_loss": 0.3}]
    assert (best(tried, metrics.Auc.name), best(tried, metrics.LogLoss.name)) == (1, 1)
    with pytest.raises(MalTfError, match="no trial has auc"):
        best(tried[:1], "auc")
