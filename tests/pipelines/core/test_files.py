"""Globs of a user's files, in folders and with names that hold the characters of globs."""

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
