import pytest

from pipelines.core import manifest

artifacts = pytest.importorskip(
    "pipelines.retrain.tfx.artifacts", reason="TFX is not installed; `make test-tfx` makes an environment with it"
)


def test_a_training_lies_under_its_models_name(tmp_path):
    manifest.finish(str(tmp_path / "train/mal"), {"made_from": "labels"})
    assert artifacts.training_directory(str(tmp_path), "mal") == str(tmp_path / "train/mal")


def test_a_training_directory_an_earlier_version_is_taken_up_and_always_has_the_same_fingerprint(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/network.json").write_text("{}")
    (earlier,) = {artifacts.training_directory(str(tmp_path), "mal") for _ in range(2)}
    assert earlier == str(tmp_path / "train")
    before = manifest.made_from(earlier)
    artifacts.training_directory(str(tmp_path), "mal")
    assert manifest.made_from(earlier) == before


def test_uris_of_cloud_storage_are_paths_of_its_mount():
    assert [artifacts.local(uri) for uri in ("gs://bucket/model", "/data/model")] == [
        "/gcs/bucket/model",
        "/data/model",
    ]
