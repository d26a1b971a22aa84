"""Stages of a run on an object store: each is there whole, the earlier or the new one, whatever fails."""

import pathlib

import pytest

from features.errors import MalTfError
from pipelines.core import files, manifest
from pipelines.core.mirror import Mirror
from pipelines.core.stage_runner import StageRunner

HOME = "mem://bucket/runs/shop"
CONFIG = "name: shop\n"

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Changes to another machine, whose cache is empty."""

    def change(name):
        monkeypatch.setenv("MAL_TF_CACHE", str(tmp_path / name))

    return change


def runner(**options):
    mirror = Mirror.of(HOME)
    return StageRunner(mirror.local, mirror=mirror, **options)


def writes(text):
    def stage(output):
        files.write_text(f"{output}/folder/file.txt", text)
        return text

    return stage


def refused(_):
    raise AssertionError("the stage is finished")


def bring(stages, made_from, stage):
    with stages.opened("shop", CONFIG):
        return stages.run("train/mal", [made_from], stage)


def test_another_machine_goes_on_from_what_is_finished(store, machine):
    bring(runner(), 1, writes("weights"))
    there = f"{HOME}/train/mal"
    assert manifest.read(there)["result"] == "weights"
    assert files.read_text(f"{manifest.place(there)}/folder/file.txt") == "weights"
    uploads = [path for path in store.created if path.startswith(there)]
    assert [path.rpartition("/")[2] for path in uploads] == ["_INCOMPLETE", "file.txt", "manifest.json"]
    assert files.read_text(f"{HOME}/config.yaml") == CONFIG and files.exists(f"{HOME}/run.json")
    before = dict(store.objects)
    machine("second")
    directory = bring(runner(), 1, refused)
    assert pathlib.Path(directory, "folder/file.txt").read_text() == "weights"
    assert {path for path in before if path.startswith(there)} == {p for p in store.objects if p.startswith(there)}


def test_nothing_of_an_earlier_generation_stays_here(machine):
    bring(runner(), 1, writes("weights"))
    machine("second")
    bring(runner(), 2, lambda output: files.write_text(f"{output}/other.txt", "weights"))
    machine("cache")
    assert sorted(files.listing(bring(runner(), 2, refused))) == ["manifest.json", "other.txt"]


def test_a_stage_that_fails_takes_no_finished_one_away(store):
    bring(runner(), 1, writes("earlier"))

    def fails(output):
        files.write_text(f"{output}/folder/file.txt", "half")
        raise MalTfError("no memory")

    with pytest.raises(MalTfError, match="no memory"):
        bring(runner(), 2, fails)
    assert files.read_text(f"{HOME}/failed.txt") == "no memory\n"
    assert files.read_text(f"{manifest.place(f'{HOME}/train/mal')}/folder/file.txt") == "earlier"
    bring(runner(), 2, writes("later"))
    assert not files.exists(f"{HOME}/failed.txt")
    assert sorted(path.rpartition("/")[2] for path in store.objects if "/train/mal/" in path) == [
        "file.txt",
        "manifest.json",
    ]


@pytest.mark.parametrize("where", ["folder/file.txt", "mal/manifest.json"])
def test_an_upload_that_breaks_is_made_up_for_without_running_again(store, where):
    bring(runner(), 1, writes("earlier"))
    store.broken = where
    with pytest.raises(MalTfError, match="can't be written: ConnectionError"):
        bring(runner(), 2, writes("later"))
    there = f"{HOME}/train/mal"
    assert files.read_text(f"{manifest.place(there)}/folder/file.txt") == "earlier"
    bring(runner(), 2, refused)
    assert files.read_text(f"{manifest.place(there)}/folder/file.txt") == "later"


def test_versions_are_whole_with_saved_model_last_and_numbers_go_on(store, machine):
    def export(mirror):
        def stage(output):
            mirror.reserve_versions("serving/mal")
            serving = pathlib.Path(mirror.local, "serving/mal")
            number = max((int(path.name) for path in serving.glob("*")), default=0) + 1
            names = [f"../../serving/mal/{number}/{name}" for name in ("saved_model.pb", "variables/data")]
            for name in names:
                files.write_text(f"{output}/{name}", f"version {number}")
            return {"version": number, manifest.ELSEWHERE: manifest.describe(output, names)}

        return stage

    for number in (1, 2):
        machine(f"machine {number}")
        stages = runner()
        with stages.opened("shop", CONFIG):
            stages.run("export/mal", [number], export(stages.mirror))
        assert manifest.read(f"{HOME}/export/mal")["result"]["version"] == number
    served = [path for path in store.created if "/serving/" in path]
    assert served == [f"{HOME}/serving/mal/{n}/{name}" for n in (1, 2) for name in ("variables/data", "saved_model.pb")]
    machine("third")
    stages = runner()
    with stages.opened("shop", CONFIG):
        stages.run("export/mal", [2], refused)
    assert files.read_text(stages.path("serving/mal/2/saved_model.pb")) == "version 2"
    machine("fourth")
    del store.objects[f"{HOME}/serving/mal/2/saved_model.pb"]
    with (stages := runner()).opened("shop", CONFIG):
        stages.run("export/mal", [2], export(stages.mirror))
    assert files.exists(f"{HOME}/serving/mal/3/saved_model.pb")


def test_another_run_is_not_overwritten(store):
    bring(runner(), 1, writes("weights"))
    before = dict(store.objects)
    with pytest.raises(MalTfError, match=f"{HOME} holds run 'shop', but"), runner().opened("other", "name: other"):
        pass
    assert store.objects == before


def test_a_job_writes_to_the_store_itself(store):
    def job(output, backup):
        assert (output, backup) == (f"{HOME}/labels", "")
        manifest.begin(place := manifest.new_place(output), overwrite=True)
        for name in ("report.json", "clicks.gz"):
            files.write_text(f"{place}/{name}", name)
        manifest.finish(place, {"made_from": "logs", "files": manifest.describe(place, ["report.json", "clicks.gz"])})

    for _ in range(2):
        stages = runner()
        with stages.opened("shop", CONFIG):
            assert stages.run_job("labels", "logs", job, here=["report.json"]) == f"{HOME}/labels"
        assert sorted(files.listing(stages.path("labels"))) == ["manifest.json", "report.json"]
    assert sum(path.endswith("labels/manifest.json") for path in store.created) == 1
    with (stages := runner(overwrite=True)).opened("shop", CONFIG):
        stages.run_job("labels", "other logs", lambda *_: None, here=["report.json"])  # It was submitted.
    assert not files.exists(stages.path("labels"))


def test_places():
    mirror = Mirror.of(f"{HOME}/")
    assert mirror.there(mirror.local) == HOME
    assert mirror.there(f"{mirror.local}/report.html") == f"{HOME}/report.html"
    assert mirror.there("/elsewhere/file") == "/elsewhere/file"
    assert mirror.there("gs://bucket/file") == "gs://bucket/file"
