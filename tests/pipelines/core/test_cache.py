"""Local copies of what lies on an object store: as it is there now, whole, and not more than there is room for."""

import os
import pathlib

import pytest

from features.errors import MalTfError
from pipelines.core import cache, files, manifest

HOME = "mem://bucket/models"

pytestmark = pytest.mark.usefixtures("store")


def test_what_is_local_is_no_copy(tmp_path):
    assert cache.file(f"{tmp_path}/a") == cache.directory(f"{tmp_path}/a") == f"{tmp_path}/a"
    assert not (tmp_path / "cache").exists()


def test_a_file_is_fetched_again_only_if_it_was_changed(store, monkeypatch):
    files.write_text(f"{HOME}/a.txt", "one")
    here = cache.file(f"{HOME}/a.txt")
    assert files.read_text(here) == "one" and os.path.basename(here) == "a.txt"
    with monkeypatch.context() as patch:
        patch.setattr(store, "open", None)
        assert cache.file(f"{HOME}/a.txt") == here
    files.write_text(f"{HOME}/a.txt", "another")
    assert files.read_text(cache.file(f"{HOME}/a.txt")) == "another"


def test_a_directory_comes_with_saved_model_last(store, monkeypatch):
    for name in ("saved_model.pb", "variables/variables.index"):
        files.write_text(f"{HOME}/1/{name}", name)
    here = cache.directory(f"{HOME}/1")
    assert files.listing(here) == {"saved_model.pb": 14, "variables/variables.index": 25}
    opened, order = store.open, []
    monkeypatch.setattr(store, "open", lambda self, path, *a, **k: order.append(path) or opened(self, path))
    cache.fetch(f"{HOME}/1", files.remote_listing(f"{HOME}/1"), here + "-2")
    assert order == [f"{HOME}/1/variables/variables.index", f"{HOME}/1/saved_model.pb"]
    with pytest.raises(MalTfError, match=f"{HOME}/2: expected a directory with files, found nothing"):
        cache.directory(f"{HOME}/2")


def test_a_finished_stage_is_a_local_one_here():
    place = manifest.new_place(f"{HOME}/train")
    manifest.begin(place, overwrite=True)
    files.write_text(f"{place}/weights.h5", "weights")
    entries = manifest.describe(place, ["weights.h5"])
    manifest.finish(place, {"made_from": "it", "files": entries})
    here = cache.directory(f"{HOME}/train")
    assert sorted(files.listing(here)) == ["manifest.json", "weights.h5"]
    assert manifest.is_finished(here, "it")
    manifest.check_file(here, "weights.h5")
    files.delete(f"{place}/weights.h5")
    with pytest.raises(
        MalTfError, match="weights.h5: expected a file of a finished stage, found none; run the stage again"
    ):
        cache.directory(f"{HOME}/train")


def test_the_limit_is_kept_and_said(monkeypatch):
    monkeypatch.setenv("MAL_TF_CACHE_GB", "1e-6")
    files.write_bytes(f"{HOME}/small", bytes(600))
    files.write_bytes(f"{HOME}/large", bytes(2000))
    small = pathlib.Path(cache.file(f"{HOME}/small"))
    with pytest.raises(
        MalTfError, match="expected room for 2e-06 GB in .*cache, found 4e-07 GB. Set MAL_TF_CACHE_GB to a"
    ):
        cache.file(f"{HOME}/large")
    assert small.exists(), "it is in use"
    cache._used.pop(small.parent).close()  # As if its process had ended.
    files.write_bytes(f"{HOME}/other", bytes(900))
    assert pathlib.Path(cache.file(f"{HOME}/other")).exists() and not small.exists()
    monkeypatch.setenv("MAL_TF_CACHE_GB", "lots")
    with pytest.raises(MalTfError, match="MAL_TF_CACHE_GB: expected a number of gigabytes, found 'lots'"):
        cache.file(f"{HOME}/large")
