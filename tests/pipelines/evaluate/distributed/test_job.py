"""The job's numbers are the local ones, whatever the split into shards, ranges and files."""

import pathlib

import pytest

from pipelines.clicks import labelled as labels
from pipelines.config.run import load
from pipelines.evaluate.distributed import run
from pipelines.evaluate.evaluate import evaluate
from tests.pipelines.evaluate.distributed.small import labelled, write_model

SLICES = "evaluation.slices=[path_length, information_gain, click_age, user_history, place, item, known_item, price]"
SIZES = ("min_positives=3", "top_values=4", "bootstrap_samples=60", "calibration_bins=7")
SETTINGS = (SLICES, *(f"evaluation.{size}" for size in SIZES))


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"mal": write_model(f"{folder}/mal"), "base": write_model(f"{folder}/base", 0.02, 30)}


def config(project, *overrides):
    return load(project.write(), [*SETTINGS, *overrides])


def job(project, directory, versions, name, flags=(), overrides=(), **how):
    """Runs the job; its result, and the bytes of the file."""
    evaluation = run.Evaluation(config(project, *overrides), directory, versions, **how)
    result = run.run(evaluation, f"{project.folder}/{name}", flags)
    return result, pathlib.Path(project.folder, name, "metrics.json").read_bytes()


def assert_close(found, expected, where=""):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_close(found[key], value, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, value in enumerate(expected):
            assert_close(found[number], value, f"{where}/{number}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), where
    else:
        assert found == expected, where


@pytest.mark.parametrize(("seed", "count", "users"), [(0, 600, 60), (1, 2000, 1500), (2, 150, 4)])
def test_the_numbers_are_the_local_ones(project, versions, monkeypatch, seed, count, users):
    monkeypatch.setattr(run, "_SHARD_CLICKS", 97)
    monkeypatch.setattr(run, "_RANGE_CLICKS", 89)
    directory = labelled(f"{project.folder}/labels", seed, count, users)
    loaded = labels.load(directory, config(project).feature_spec)
    expected = evaluate(config(project), loaded, versions, f"{project.folder}/local")
    found, _ = job(project, directory, versions, "job")
    assert len(found["slices"]) > 10
    assert {part["by"] for part in found["slices"]} >= {"price", "place", "path_length"}
    assert any(difference["p"] is not None for difference in found["differences"]["base"].values()) or users < 30
    assert_close(found, expected)


def test_shards_files_batches_and_processes_change_no_byte(project, versions, monkeypatch):
    directory = labelled(f"{project.folder}/labels")
    monkeypatch.setattr(run, "_RANGE_CLICKS", 100)
    _, once = job(project, directory, versions, "once", shards=1)
    _, again = job(project, directory, versions, "again", shards=7)
    other = labelled(f"{project.folder}/other", parts=5, order=1)
    _, dealt = job(project, other, versions, "dealt", shards=3)
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    _, processes = job(project, directory, versions, "processes", flags, shards=2)
    assert once == again == dealt == processes
