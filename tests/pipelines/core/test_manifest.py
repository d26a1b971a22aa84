"""Directories of stages: whose they are, what clearing them leaves, names that look like globs."""

import pathlib

import pytest

from features.errors import MalTfError
from pipelines.core import files, manifest
from pipelines.core.stage_runner import StageRunner


@pytest.mark.parametrize("name", ["plain", "run[1]", "what?", "a*b"])
def test_names_that_look_like_globs_are_names(tmp_path, name):
    directory, neighbour = str(tmp_path / name), tmp_path / "run1" / "kept.txt"
    files.write_text(str(neighbour), "kept")
    manifest.begin(directory, overwrite=False)
    files.write_text(f"{directory}/part/one.txt", "one")
    manifest.finish(directory, {"made_from": "x", "files": [{"path": "part/one.txt", "bytes": 3}]})
    assert manifest.is_finished(directory, "x")
    assert files.listing(directory) == {"part/one.txt": 3, "manifest.json": files.size(f"{directory}/manifest.json")}
    manifest.begin(directory, overwrite=True)
    assert list(files.listing(directory)) == [manifest.MARK]
    assert neighbour.exists()


def test_clearing_cut_short_leaves_a_directory_that_is_still_ours(tmp_path, monkeypatch):
    directory = str(tmp_path / "stage")
    manifest.begin(directory, overwrite=False)
    files.write_text(f"{directory}/part/one.txt", "one")
    manifest.finish(directory, {"made_from": "x", "files": []})
    with monkeypatch.context() as broken:
        broken.setattr(files, "clear", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            manifest.begin(directory, overwrite=True)
    assert not manifest.is_finished(directory, "x")
    manifest.begin(directory, overwrite=False)
    assert list(files.listing(directory)) == [manifest.MARK]


def test_finishing_twice_is_finishing(tmp_path):
    directory = str(tmp_path)
    for _ in range(2):  # A runner repeats a step whose answer it lost.
        manifest.finish(directory, {"made_from": "x", "files": []})
    assert manifest.is_finished(directory, "x")


@pytest.mark.parametrize("folder", ["", "empty"])
def test_somebody_elses_file_is_not_cleared_an_empty_directory_is_taken(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    if folder:
        manifest.begin(str(tmp_path / folder), overwrite=True)
        return
    pathlib.Path(tmp_path, "thesis.txt").write_text("years of work")
    with pytest.raises(MalTfError, match="was not made by mal-tf"):
        manifest.begin(str(tmp_path), overwrite=True)


@pytest.mark.parametrize(
    "content",
    [
        '{"name": "shop", "start_url": "/"}',
        "[]",
        '{"files": []}',
        '{"name": "shop"} // with comments',
        '{"name": "sh',
        "\ufeff{}",
        "version: 3",
        '"made_from"',
        "[" * 100_000,
    ],
)
def test_another_tools_manifest_does_not_make_a_directory_ours(tmp_path, content):
    directory = tmp_path / "proj" / "labels"
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text(content)
    (directory / "app.js").write_text("work")
    for overwrite in (False, True):
        with pytest.raises(MalTfError, match="was not made by mal-tf"):
            manifest.begin(str(directory), overwrite)
    with (
        pytest.raises(MalTfError, match="was not made by mal-tf"),
        manifest.replaced(str(directory), str(tmp_path / "proj/.previous/labels")),
    ):
        manifest.begin(str(directory), overwrite=True)
    assert not manifest.is_finished(str(directory), "x")
    assert (directory / "app.js").read_text() == "work"


def cut(directory, content):
    manifest.begin(str(directory), overwrite=False)
    manifest.finish(str(directory), {"made_from": "x", "files": []})
    (directory / "manifest.json").write_bytes(content)
    (directory / "mine.txt").write_text("work")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", [b'{"made_from": "x", "fil', b'{"made_from": "x", "files": "cut"}'])
def test_a_manifest_cut_after_it_says_whose_it_is_is_unfinished_and_named(tmp_path, caplog, content, overwrite):
    cut(tmp_path, content)
    assert not manifest.is_finished(str(tmp_path), "x")
    assert f"{tmp_path}/manifest.json: expected JSON, found an empty or cut file" in caplog.text
    with pytest.raises(MalTfError, match="empty or cut manifest.json; run the stage again"):
        manifest.read(str(tmp_path))
    manifest.begin(str(tmp_path), overwrite)
    assert [path.name for path in tmp_path.iterdir()] == [manifest.MARK]


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"\n", b'{\n "columns": [\n  {\n   "mea', b'{\n "nodes'])
def test_a_manifest_cut_before_is_unfinished_and_deletes_nothing_without_the_mark(tmp_path, content):
    cut(tmp_path, content)
    assert not manifest.is_finished(str(tmp_path), "x")
    for overwrite in (False, True):
        with pytest.raises(
            MalTfError, match=f"{tmp_path}/manifest.json is empty or cut.* delete that directory and run"
        ):
            manifest.begin(str(tmp_path), overwrite)
    with pytest.raises(MalTfError, match="is empty or cut"), manifest.replaced(str(tmp_path), f"{tmp_path}-before"):
        manifest.begin(str(tmp_path), overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "work" and (tmp_path / "manifest.json").read_bytes() == content
    files.write_text(f"{tmp_path}/{manifest.MARK}", "")
    manifest.begin(str(tmp_path), overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [manifest.MARK]


@pytest.mark.parametrize("stage", ["labels", "labels/a/b"])
def test_a_file_in_the_place_of_a_directory_is_named_and_stays(tmp_path, stage):
    (tmp_path / "labels").write_text("mine")
    said = f"^{tmp_path}/labels: expected a directory, found a file; move it away, or choose another output$"
    with pytest.raises(MalTfError, match=said):
        manifest.begin(f"{tmp_path}/{stage}", overwrite=True)
    runner = StageRunner(str(tmp_path))
    for again in (
        lambda: runner.run(stage, [], lambda output: None),
        lambda: runner.run_job(f"{stage}/c", "x", lambda output, backup: manifest.begin(output, overwrite=True)),
    ):
        with pytest.raises(MalTfError, match=said):
            again()
    assert (tmp_path / "labels").read_text() == "mine"


def test_a_link_is_somebody_elses_file(tmp_path):
    for name, target in (("nowhere", "none"), ("folder", tmp_path)):
        directory = tmp_path / name / "stage"
        directory.mkdir(parents=True)
        (directory / "link").symlink_to(target)
        with pytest.raises(MalTfError, match="was not made by mal-tf"):
            manifest.begin(str(directory), overwrite=True)


def test_what_is_no_manifest_of_ours_is_no_finished_stage(tmp_path):
    for name, content in (("web", '{"name": "shop"}'), ("binary", "\xff\x00"), ("folder", None)):
        path = tmp_path / name / "manifest.json"
        path.parent.mkdir()
        if content is None:
            path.mkdir()
        (path if content else path / "kept.txt").write_text(content or "work", encoding="latin-1")
        with pytest.raises(
            MalTfError, match=r"expected a finished stage, found a manifest\.json that mal-tf did not write"
        ):
            manifest.read(str(path.parent))
        with pytest.raises(MalTfError, match="was not made by mal-tf"):
            manifest.begin(str(path.parent), overwrite=True)
        assert path.exists()


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("clicks*.csv", "gs://bucket/shop", "gs://bucket/shop/clicks*.csv"),
        ("../clicks.csv", "gs://bucket/shop", "gs://bucket/clicks.csv"),
        ("gs://other/clicks.csv", "/home/me", "gs://other/clicks.csv"),
        ("/logs/clicks.csv", "gs://bucket/shop", "/logs/clicks.csv"),
        ("clicks.csv", "/home/me", "/home/me/clicks.csv"),
        ("../../runs/a", "/home/me/examples/b", "/home/me/runs/a"),
        ("../../../../../runs/a", "/home/me", "/runs/a"),
        ("link/../a", "/home/me", "/home/me/link/../a"),
    ],
)
def test_paths_are_relative_to_a_folder_anywhere(path, folder, expected):
    assert files.resolve(path, folder) == expected


def made(directory, content):
    manifest.begin(directory, overwrite=False)
    files.write_text(f"{directory}/part/one.txt", content)
    manifest.finish(directory, {"made_from": content})


def test_what_was_finished_comes_back_when_its_replacement_fails(tmp_path):
    stage, backup = str(tmp_path / "labels"), str(tmp_path / ".previous/labels")
    made(stage, "old")
    with pytest.raises(MalTfError, match="bad input"), manifest.replaced(stage, backup):
        manifest.begin(stage, overwrite=True)
        files.write_text(f"{stage}/part/two.txt", "half")
        raise MalTfError("bad input")
    assert manifest.made_from(stage) == "old" and files.listing(stage).keys() == {"part/one.txt", "manifest.json"}
    with manifest.replaced(stage, backup):
        made(stage, "new")
    assert manifest.made_from(stage) == "new" and not pathlib.Path(backup).exists()


@pytest.mark.parametrize(("finished", "left"), [(False, "old"), (True, "new")])
def test_a_replacement_that_was_killed_is_ended_by_the_next_process(tmp_path, finished, left):
    stage, backup = str(tmp_path / "labels"), str(tmp_path / ".previous/labels")
    made(backup, "old")
    if finished:
        made(stage, "new")
    else:
        manifest.begin(stage, overwrite=False)
    made(str(tmp_path / ".previous/train/mal"), "weights")
    for _ in range(2):
        manifest.recover_all(str(tmp_path), str(tmp_path / ".previous"))
        assert manifest.made_from(stage) == left and not pathlib.Path(backup).exists()
        assert manifest.made_from(str(tmp_path / "train/mal")) == "weights"


def test_a_directory_that_is_a_link_is_made_anew_in_its_place(tmp_path):
    """As where labels lie on a larger disk."""
    stage, backup = tmp_path / "run/labels", str(tmp_path / "run/.previous/labels")
    made(str(tmp_path / "large"), "old")
    stage.parent.mkdir()
    stage.symlink_to(tmp_path / "large")
    with manifest.replaced(str(stage), backup):
        manifest.begin(str(stage), overwrite=True)
        manifest.finish(str(stage), {"made_from": "new"})
    assert stage.is_symlink() and manifest.made_from(str(tmp_path / "large")) == "new"
