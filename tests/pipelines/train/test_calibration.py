"""The stage on a small run of `base`: what it holds out, fits, exports, and when it is repeated."""

import json

import numpy as np
import pandas as pd
import pytest

from features.errors import MalTfError
from mal_tf.evaluation.metrics import calibration_error, log_loss, pcoc
from pipelines.clicks import labelled
from pipelines.config.run import load
from pipelines.core import files, manifest
from pipelines.run.run import Run
from pipelines.train import calibration
from pipelines.train.inputs import without_held_out
from tests.support.project import Project

ISOTONIC, PLATT = "calibration={method: isotonic}", "calibration={method: platt, by: place, min_positives: 10}"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.config["model"] |= {"name": "base", "compare_with": []}
    return project


@pytest.fixture(scope="module")
def evaluated(project):
    """Brings the run up to date with overrides: the run, and the stages that ran."""
    config = project.write()

    def evaluate(*overrides):
        run, ran = Run(load(config, overrides), str(project.folder / "run")), []
        run_stage = run.stages.run

        def recorded(name, made_from, stage, **given):
            return run_stage(name, made_from, lambda output: ran.append(name) or stage(output), **given)

        object.__setattr__(run.stages, "run", recorded)
        run.evaluate()
        return run, ran

    return evaluate


@pytest.fixture(scope="module")
def isotonic(evaluated):
    return evaluated(ISOTONIC)[0]


def said(run):
    return json.loads(files.read_text(run.path("calibrate/base/calibration.json")))


def test_the_last_day_fits_and_does_not_train(isotonic, project):
    data = labelled.load(isotonic.path("labels"), isotonic.config.feature_spec)
    days = data.splits["train"].file_rows
    trained = json.loads(files.read_text(isotonic.path("train/base/training.json")))["examples"]
    found = said(isotonic)
    assert len(days) == 2 and trained == sum(days[0]) and found["clicks"] == sum(days[1])
    first, last = (pd.Timestamp(found[f"{key}_timestamp"], unit="s") for key in ("first", "last"))
    assert pd.Timestamp("2023-11-16") <= first < last < pd.Timestamp("2023-11-17")
    assert found["after"]["pcoc"] == pytest.approx(1)
    assert found["after"]["log_loss"] < found["before"]["log_loss"]


def test_what_it_says_of_the_evaluation_split_is_what_the_export_predicts(isotonic):
    frame, found = pd.read_parquet(isotonic.path("evaluate/predictions.parquet")), said(isotonic)["evaluation"]
    label, cvr = frame["label_last"].to_numpy(float), frame["cvr_base"].to_numpy(float)
    assert (found["clicks"], found["positives"]) == (len(frame), (label > 0).sum())
    expected = {"log_loss": log_loss(label, cvr), "pcoc": pcoc(label, cvr), "ece": calibration_error(label, cvr)}
    assert found["after"] == pytest.approx(expected, abs=1e-5)
    assert found["before"] != pytest.approx(expected, abs=1e-3)


def test_clicks_of_one_class_can_not_calibrate(isotonic, tmp_path):
    config, labels = isotonic.config, isotonic.path("labels")
    weights = isotonic.path("train/base")
    score = calibration._score

    def no_positives(*arguments):
        found = score(*arguments)
        return calibration._Scored(found.logit, np.zeros_like(found.label), found.timestamp, found.values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "_score", no_positives)
        with pytest.raises(MalTfError, match="base, label_last: calibration needs clicks of both classes"):
            calibration.calibrate(config, labels, "base", weights, str(tmp_path))


def test_another_method_exports_again_and_other_days_train_again(evaluated, isotonic):
    assert evaluated(ISOTONIC)[1] == []
    run, ran = evaluated(PLATT)
    assert ran == ["calibrate/base", "export/base", "evaluate"]
    assert said(run)["by"] == "place" and len(said(run)["slices"]) == 3
    assert manifest.read(run.path("export/base"))["result"]["largest_difference"] <= 1e-5
    _, ran = evaluated()
    assert ran == ["train/base", "export/base", "evaluate"]


def test_no_day_left_to_train_on_is_said(evaluated):
    with pytest.raises(MalTfError, match="calibration.segments: 2 held out of 2 segments .* leave none to train on"):
        evaluated("calibration={method: platt, segments: 2}")


def test_without_calibration_all_days_train(isotonic):
    config = isotonic.config.model_copy(update={"calibration": None})
    data = labelled.load(isotonic.path("labels"), config.feature_spec)
    assert without_held_out(config, data) is data
