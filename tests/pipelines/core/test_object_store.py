"""All reads and writes go through Beam's filesystems: config, logs, joined tables and outputs in an object store."""

import json

import pyarrow.csv
import pytest
import yaml

from features.errors import MalTfError
from pipelines.config.run import load
from pipelines.core import files, manifest
from pipelines.labels import run
from tests.support.labels import tree
from tests.support.object_store import HOME, upload


def labels(config, output, **options):
    return run.run(load(config), output, **options)


def test_the_whole_job_there_writes_what_it_writes_here(project, store):
    report = labels(upload(project), f"{HOME}/labels")
    assert report["clicks"]["read"] == 600
    assert store.created[-1] == f"{HOME}/labels/manifest.json"
    assert f"{HOME}/labels/_INCOMPLETE" not in store.objects
    here = project.folder / "shop"
    labels(upload(project, str(here)), str(here / "labels"))
    expected, generation = tree(here / "labels"), manifest.place(f"{HOME}/labels")
    found = {path: data for path, (data, _) in store.objects.items()}
    written = {path for path in found if "/labels/" in path} - {f"{HOME}/labels/manifest.json"}
    assert {path.removeprefix(f"{generation}/") for path in written} == set(expected) - {"manifest.json"}
    for path in set(expected) - {"manifest.json"}:  # it tells the seconds spent
        assert found[f"{generation}/{path}"] == expected[path]
    assert b"30" in found[f"{generation}/vocabulary/height.txt"].split()


@pytest.mark.parametrize("where", ["-00001-of-00004.gz", "vocabulary/item.txt", "label_report.json", "manifest.json"])
def test_a_cut_off_run_leaves_no_manifest_and_the_next_one_finishes(project, store, where):
    config, output = upload(project), f"{HOME}/labels"
    store.broken = where
    with pytest.raises(MalTfError, match="can't be written: ConnectionError: connection reset by peer"):
        labels(config, output)
    assert f"{output}/manifest.json" not in store.objects
    with pytest.raises(MalTfError, match="found no manifest.json: it did not finish"):
        manifest.read(output)
    labels(config, output)
    found = manifest.read(output)
    assert manifest.is_finished(output, found["made_from"])
    assert store.created[-1] == f"{output}/manifest.json"


def test_overwriting_leaves_nothing_of_the_old_run(project, store):
    config, output = upload(project), f"{HOME}/labels"
    labels(config, output)
    old = f"{manifest.place(output)}/vocabulary/old.txt"
    files.write_text(old, "old")
    with pytest.raises(MalTfError, match="finished already"):
        labels(config, output)
    labels(config, output, overwrite=True)
    assert old not in store.objects
    assert {path.split("/")[5] for path in store.objects if path.startswith(f"{output}/")} == {
        "manifest.json",
        manifest.content(output)["generation"],
    }
    assert f"{HOME}/config.yaml" in store.objects


@pytest.mark.parametrize(
    "lost",
    [
        "Split-train/data_tfrecord-00000-of-00004.gz",
        "attribution/mta.json",
        "attribution/touchpoint.txt",
        "dead_letter/clicks-00000.jsonl",
        "label_report.json",
        "vocabulary/place.txt",
    ],
)
def test_a_lost_file_is_noticed(project, store, lost):
    unusable = project.clicks.slice(0, 1).set_column(3, "ts", [[-1]])
    project.clicks = pyarrow.concat_tables([project.clicks, unusable])
    config, output = upload(project), f"{HOME}/labels"
    labels(config, output)
    made_from = manifest.read(output)["made_from"]
    assert manifest.is_finished(output, made_from)
    del store.objects[f"{manifest.place(output)}/{lost}"]
    assert not manifest.is_finished(output, made_from)


def test_what_is_finished_outlives_a_job_that_fails(project, store):
    config, output = upload(project), f"{HOME}/labels"
    labels(config, output)
    before = {path: data for path, data in store.objects.items() if path.startswith(output)}
    store.broken = "label_report.json"
    with pytest.raises(MalTfError, match="can't be written: ConnectionError"):
        labels(config, output, overwrite=True)
    assert {path: store.objects[path] for path in before} == before
    assert manifest.is_finished(output, manifest.read(output)["made_from"])
    labels(config, output, overwrite=True)
    assert not before.keys() & (store.objects.keys() - {f"{output}/manifest.json"})


def test_a_job_that_was_overtaken_changes_nothing(store):
    directory = f"{HOME}/labels"
    places = manifest.new_place(directory), manifest.new_place(directory)
    for place in places:
        manifest.begin(place, overwrite=True)
        files.write_text(f"{place}/file.txt", place)
    with pytest.raises(MalTfError, match="another job writes there, or has finished. What is finished stays"):
        manifest.finish(places[0], {"made_from": "first"})
    assert manifest.content(directory) == {}
    for _ in range(2):  # A runner repeats a step whose result was lost.
        manifest.finish(places[1], {"made_from": "second"})
        assert manifest.place(directory) == places[1]
    with pytest.raises(MalTfError, match="found nothing: another job writes there, or has finished"):
        manifest.finish(places[0], {"made_from": "first"})
    manifest.begin(manifest.new_place(directory), overwrite=True)
    manifest.finish(places[1], {"made_from": "second"})  # Repeated when the next job has begun: nothing is deleted.
    assert manifest.read(directory)["made_from"] == "second" and files.exists(f"{directory}/_INCOMPLETE")


def test_labels_in_the_layout_of_earlier_versions_are_read_and_replaced(project, store):
    config, output = upload(project), f"{HOME}/labels"
    labels(config, output)
    content, place = manifest.read(output), manifest.place(output)
    for path in files.listing(place):
        files.write_bytes(f"{output}/{path}", files.read_bytes(f"{place}/{path}"))
    manifest.write(output, {key: value for key, value in content.items() if key != "generation"})
    files.clear(
        output, keep=["Split-train", "Split-eval", "vocabulary", "attribution", "manifest.json", "label_report.json"]
    )
    assert manifest.is_finished(output, content["made_from"])
    labels(config, output, overwrite=True)
    assert f"{output}/label_report.json" not in store.objects
    assert manifest.is_finished(output, content["made_from"])


def test_a_directory_of_somebody_else_is_left_alone(project, store):
    config = upload(project)
    files.write_text("mem://bucket/theses/labels/mine.txt", "years of work")
    with pytest.raises(MalTfError, match="was not made by mal-tf"):
        labels(config, "mem://bucket/theses/labels")
    assert "mem://bucket/theses/labels/mine.txt" in store.objects


def test_an_unreachable_store_is_said(project, store):
    config = upload(project)
    text = json.dumps(yaml.safe_load(files.read_text(config)))
    files.write_text(config, text.replace('"clicks*.parquet"', '"mem://unreachable/clicks*.parquet"'))
    with pytest.raises(
        MalTfError, match=r"mem://unreachable/clicks\*.parquet can't be listed: ConnectionError: no route"
    ):
        labels(config, f"{HOME}/labels")
    assert not files.listing(f"{HOME}/labels")
    with pytest.raises(MalTfError, match="mem://bucket/shop/confg.yaml: no such config file"):
        load("mem://bucket/shop/confg.yaml")
