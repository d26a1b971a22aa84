"""A whole search on the small project, in this process."""

import concurrent.futures
import json
import shutil

import pytest

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
    return (
        project.folder / "config.yaml",
        output,
        run(load(str(project.folder / "config.yaml")), str(output), make=here),
    )


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


def test_the_table_and_the_flags_have_the_values(finished):
    _, _, result = finished
    text = text_table.markdown(report.table(result))
    assert "| 1 (config) |" in text and "learning_rate" in text and "3 trials, 0 of which diverged" in text
    assert (
        f"--set 'training.batch_size={result['trials'][result['best']]['values']['training.batch_size']}'"
        in report.flags(result)
    )


def test_without_any_metric_there_is_no_best():
    tried = [{"auc": None, "log_loss": 0.2}, {"auc": 0.5, "log_loss": 0.1}, {"auc": 0.5, "log_loss": 0.3}]
    assert (best(tried, metrics.Auc.name), best(tried, metrics.LogLoss.name)) == (1, 1)
    with pytest.raises(Exception, match="no trial has auc"):
        best(tried[:1], "auc")
