"""Stages that do not belong to what lies beside them, after commands that bring only a part of a run up to date."""

import json
import pathlib

import pytest

from pipelines.core import files, manifest
from pipelines.core.outdated import outdated
from pipelines.core.stage_runner import StageRunner

STAGES = ("labels", "train/mal", "export/mal", "evaluate")


def command(folder, upto="evaluate", *, rate=1, bins=1, overwrite=False, weights="w"):
    """A command on a run whose stages read one another, the training `rate` and the evaluation `bins`; what it ran."""
    runner, ran = StageRunner(str(folder), overwrite), []

    def make(name, *made_from):
        def write(output):
            ran.append(name)
            files.write_text(f"{output}/content", f"{weights} of {name}")

        return manifest.made_from(runner.run(name, made_from, write))

    with runner.opened("shop", f"name: shop\nrate: {rate}\nbins: {bins}\n"):
        made = make("labels")
        for name, key in (("train/mal", rate), ("export/mal", 0), ("evaluate", bins)):
            if upto in STAGES[: STAGES.index(name)]:
                break
            made = make(name, made, key)
    return ran


def test_a_whole_run_is_of_one_config(tmp_path):
    assert command(tmp_path) == list(STAGES) and outdated(str(tmp_path)) == {}
    assert command(tmp_path) == [] and outdated(str(tmp_path)) == {}
    assert command(tmp_path, bins=2) == ["evaluate"] and outdated(str(tmp_path)) == {}


def test_a_newer_training_under_older_metrics_is_said(tmp_path):
    command(tmp_path)
    assert command(tmp_path, "train/mal", rate=2) == ["train/mal"]
    assert outdated(str(tmp_path)) == {
        "evaluate": "last made or confirmed with an earlier config",
        "export/mal": "made from earlier train/mal",
    }
    assert command(tmp_path, rate=2) == ["export/mal", "evaluate"] and outdated(str(tmp_path)) == {}


def test_metrics_of_another_config_of_the_same_training_are_said(tmp_path):
    command(tmp_path)
    assert command(tmp_path, "export/mal", bins=2) == []
    assert outdated(str(tmp_path)) == {"evaluate": "last made or confirmed with an earlier config"}
    command(tmp_path, bins=1)
    assert outdated(str(tmp_path)) == {}


def test_a_training_that_was_written_again_makes_what_follows_due(tmp_path):
    """With the same fingerprint, but with other weights."""
    command(tmp_path)
    assert command(tmp_path, "train/mal", overwrite=True, weights="x") == ["labels", "train/mal"]
    found = outdated(str(tmp_path))
    assert found["export/mal"] == "made from earlier train/mal"
    assert found["evaluate"] == "made from export/mal, outdated too"
    assert command(tmp_path, weights="x") == ["export/mal", "evaluate"] and outdated(str(tmp_path)) == {}
    command(tmp_path, "train/mal", overwrite=True, weights="x")  # The same content as before: nothing is due.
    assert command(tmp_path) == [] and outdated(str(tmp_path)) == {}


@pytest.mark.parametrize("lost", ["stages.json", "config.yaml"])
def test_of_runs_of_before_nothing_is_said_and_nothing_is_made_again(tmp_path, lost):
    command(tmp_path)
    (tmp_path / lost).unlink()
    for path in tmp_path.rglob("manifest.json"):
        content = json.loads(path.read_text())
        content.pop("after", None)
        path.write_text(json.dumps(content))
    assert outdated(str(tmp_path)) == {}
    assert command(tmp_path) == [] and outdated(str(tmp_path)) == {}


@pytest.mark.parametrize("content", ["{", "", "[]", "null"])
def test_a_cut_or_strange_record_is_no_error(tmp_path, content):
    command(tmp_path)
    pathlib.Path(tmp_path, "stages.json").write_text(content)
    assert outdated(str(tmp_path)) == {} and command(tmp_path) == []
