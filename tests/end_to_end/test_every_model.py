"""Each model of the catalog is trained, restored and exported from the small project's labels."""

import json

import numpy as np
import pytest

from mal_tf.models.catalog import MODELS
from pipelines.config.run import load
from pipelines.train import export, stages
from tests.support.checks import in_this_process
from tests.support.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("models"))
    project.config["model"] |= {
        "compare_with": list(MODELS),
        "expert_units": [8],
        "categories": {"single": ["first", "last"], "multi": ["linear", "mta"]},
    }
    project.config["export"] = {"user_features": ["clicked_items"]}
    project.write()
    project.labels()
    return project


PYMAL = [
    "model.compatibility=pymal",
    "training.loss=pymal",
    "training.gradients=gcs",
    "training.gradient_variant=pymal",
]
RUNS = [*((name, []) for name in MODELS), ("natal", ["training.gradients=pcgrad"]), ("home", PYMAL)]


@pytest.mark.parametrize(("name", "options"), RUNS, ids=lambda value: value if isinstance(value, str) else len(value))
def test_trains_restores_and_exports(project, name, options, tmp_path, monkeypatch):
    monkeypatch.setattr(export.check, "verify", in_this_process)
    config = load(str(project.folder / "config.yaml"), options)
    labels = str(project.folder / "labels")
    result = stages.train(config, labels, name, str(tmp_path), str(tmp_path / "checkpoints"))
    assert result == json.loads((tmp_path / "training.json").read_text())
    assert np.isfinite(list(result["losses"].values())).all()
    exported = export.export_model(config, labels, name, str(tmp_path), str(tmp_path / "serving"))
    assert exported["version"] == 1
    assert exported["largest_difference"] <= 1e-6
    trained, served = exported["trained"], exported["served"]
    assert trained["parameters"] == result["parameters"]
    if name == "base":  # One head: nothing to leave behind.
        assert served["parameters"] == trained["parameters"]
    else:
        assert all(served[what] < trained[what] for what in served)
