"""Globs of a user's files, and outputs that would overwrite what is read, however they are spelt."""

import os

import pytest

from features.errors import MalTfError
from pipelines.core import files


@pytest.fixture(params=["logs[1]", "a*b", "what?", "[x]/[y]", "plain", "[!a]"])
def folder(request, tmp_path):
    path = tmp_path / request.param
    path.mkdir(parents=True)
    for decoy in ("logs1", "axb", "whats", "x", "b"):  # What the names would match as globs.
        (tmp_path / decoy).mkdir(exist_ok=True)
        (tmp_path / decoy / "clicks-1.csv").write_text("decoy")
    return path


def names(folder, *patterns):
    found = files.match(tuple(f"{folder}/{pattern}" for pattern in patterns))
    assert all(path.startswith(f"{folder}/") for path, _ in found)
    return [path[len(str(folder)) + 1 :] for path, _ in found]


def test_names_and_globs_in_any_folder(folder):
    for name in ("clicks-1.csv", "clicks-2.csv", "users[eu].csv", "users[us]-1.csv", "dt=1/part.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert names(folder, "clicks-1.csv") == ["clicks-1.csv"]
    assert names(folder, "clicks-*.csv") == ["clicks-1.csv", "clicks-2.csv"]
    assert names(folder, "clicks-[2-9].csv", "clicks-?.csv") == ["clicks-1.csv", "clicks-2.csv"]
    assert names(folder, "users[eu].csv") == ["users[eu].csv"]
    assert names(folder, "users[us]-*.csv") == ["users[us]-1.csv"]
    assert names(folder, "dt=*/part.csv") == ["dt=1/part.csv"]
    assert files.matches(f"{folder}/clicks-*.csv") and not files.matches(f"{folder}/none-*.csv")
    with pytest.raises(MalTfError, match="no file matches"):
        names(folder, "none[1].csv")


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A folder of logs, also named by a link, which is the working directory."""
    folder = tmp_path / "shop/logs"
    folder.mkdir(parents=True)
    (folder / "clicks.csv").write_text("id,ts\n")
    (folder / "linked.csv").symlink_to("clicks.csv")
    os.link(folder / "clicks.csv", folder / "hard.csv")
    (tmp_path / "here").symlink_to(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "output",
    [
        "clicks.csv",
        "./clicks.csv",
        "../logs/clicks.csv",
        "linked.csv",
        "hard.csv",
        "HERE/clicks.csv",
        "..",
        ".",
        "HERE",
    ],
)
def test_an_output_over_an_input_is_refused_in_every_spelling(logs, tmp_path, output):
    place = output.replace("HERE", str(tmp_path / "here"))
    for path in ("clicks.csv", str(logs / "clicks.csv"), str(tmp_path / "here/clicks.csv")):
        with pytest.raises(MalTfError, match="expected a place apart from what is read, found the input"):
            files.check_apart(place, [str(tmp_path / "other.csv"), path])


@pytest.mark.parametrize("output", ["predictions.csv", "clicks.csv.gz", "../labels", "clicks", "HERE/new.csv"])
def test_an_output_beside_its_input_is_allowed(logs, tmp_path, output):
    files.check_apart(output.replace("HERE", str(tmp_path / "here")), ["clicks.csv", str(tmp_path / "none.csv")])


def test_directories_exclude_each_other_both_ways(logs, tmp_path):
    for output, path in (("../../shop", "."), ("evaluation", "."), ("gs://b/run", "gs://b/run/logs/a.csv")):
        with pytest.raises(MalTfError, match="found the input"):
            files.check_apart(output, [path])
    files.check_apart("gs://b/run", ["gs://b/run2/logs/a.csv", str(tmp_path)])
