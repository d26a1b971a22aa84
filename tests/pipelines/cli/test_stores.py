"""What works with local paths only refuses others before any work, and leaves no folder `gs:`."""

import pathlib

import pytest

from features.errors import MalTfError
from pipelines.cli import app
from tests.support.project import Project


@pytest.mark.parametrize(
    "arguments",
    [
        ["benchmark", "none.yaml", "--output", "gs://bucket/x"],
        ["grid", "none.yaml", "--output", "gs://bucket/x"],
        ["tune", "none.yaml", "--output", "gs://bucket/x"],
        ["replay", "none.yaml", "--output", "s3://bucket/x"],
        ["train", "none.yaml", "--output", "gs://bucket/x", "--strategy", "multi_worker"],
        ["run", "none.yaml", "--output", "gs://bucket/x", "--strategy", "parameter_server"],
    ],
)
def test_commands(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MalTfError, match="^--output: expected a local path, found (gs|s3)://bucket/x; "):
        app(arguments, standalone_mode=False)
    assert not any(pathlib.Path().iterdir())


def test_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    config = Project(tmp_path / "project").write()
    with pytest.raises(MalTfError, match="^training.warm_start: expected a local path, found gs://b/r; copy that"):
        app(["run", config, "--set", "training.warm_start=gs://b/r"], standalone_mode=False)
    assert [path.name for path in pathlib.Path().iterdir()] == ["project"]
