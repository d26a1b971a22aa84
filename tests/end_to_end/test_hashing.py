"""Hashed features from logs to a served model, and on to the next day's."""

import json

import pytest

from pipelines.config.run import load
from pipelines.run.run import Run
from tests.support.project import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose two categorical features are hashed; its run in `monday`, of `base` alone."""
    project = Project(tmp_path_factory.mktemp("hashing"))
    place, item, *_ = project.config["features"]
    place |= {"hash_lookups": 1, "embedding_dim": 2}
    item |= {"hash_lookups": 2}
    project.config["vocabulary"] = {"hash_buckets": 64}
    project.config["model"] |= {"name": "base", "compare_with": []}
    project.config["training"]["embedding_optimizer"] = "lazy_adam"
    project.config["export"] = {"user_features": ["clicked_items"]}
    project.config["evaluation"]["bootstrap_samples"] = 0
    Run(load(project.write()), str(project.folder / "monday")).evaluate()
    return project


def manifest(project, stage):
    return json.loads((project.folder / "monday" / stage / "manifest.json").read_text())


def test_hashed_features_are_checked_but_not_counted(project):
    assert [path.name for path in (project.folder / "monday/labels/vocabulary").iterdir()] == ["price.txt"]
    assert manifest(project, "labels")["vocabularies"] == {"price": "numeric float32"}
    schema = (project.folder / "monday/validate/schema.pbtxt").read_text()
    assert all(f'name: "{name}"' in schema for name in ("place", "item", "clicked_items"))


def test_another_process_serves_what_was_trained(project):
    """It has hashed by itself: `check.verify` compares all three signatures."""
    assert manifest(project, "export/base")["result"]["largest_difference"] <= 1e-6
    assert len(list((project.folder / "monday/serving/base").iterdir())) == 1


def test_the_next_days_model_starts_from_the_hashed_table(project):
    overrides = ["training.warm_start=monday", "labels.grow_from=monday/labels"]
    Run(load(str(project.folder / "config.yaml"), overrides), str(project.folder / "tuesday")).train("base")
    report = json.loads((project.folder / "tuesday/train/base/training.json").read_text())["warm_start"]
    assert {entry["variable"] for entry in report} >= {"embedding_2/<hashed>", "embedding_4/price"}
    assert {entry["status"] for entry in report} == {"restored"}
