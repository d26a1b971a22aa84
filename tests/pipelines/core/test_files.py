"""Globs of a user's files, and outputs that would overwrite what is read, however they are spelt."""

import os

import pytest

from features.errors import MalTfError
from pipelines.core import files
from tests.pipelines.core.memory import MemoryFileSystem


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


TREE = [
    "a.csv",
    "day/a.csv",
    "day/hour/a.csv",
    "day/hour/b.csv",
    r"back\slash/a.csv",
    "new\nline/a.csv",
    "_dt=1/a.csv",
    "_SUCCESS",
    "_old.csv",
    ".a.csv",
    "day/.part-0.csv.crc",
    "_delta_log/0.csv",
    "day/.tmp/a.csv",
]
SHOWN = sorted(TREE[:7])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.csv", SHOWN),
        ("**/**/*.csv", SHOWN),
        ("**", SHOWN),
        ("**.csv", SHOWN),
        ("**/a.csv", [name for name in SHOWN if name.endswith("a.csv")]),
        ("**/day/**/*.csv", ["day/a.csv", "day/hour/a.csv", "day/hour/b.csv"]),
        ("**/day/**/hour/**/b.csv", ["day/hour/b.csv"]),
        ("day/**", ["day/a.csv", "day/hour/a.csv", "day/hour/b.csv"]),
        ("da**/b.csv", ["day/hour/b.csv"]),
        ("*", ["a.csv"]),
        ("?.csv", ["a.csv"]),
        ("*/a.csv", ["_dt=1/a.csv", r"back\slash/a.csv", "day/a.csv", "new\nline/a.csv"]),
        ("*/*/[!a].csv", ["day/hour/b.csv"]),
        ("_*", ["_SUCCESS", "_old.csv"]),
        ("[._]*.csv", [".a.csv", "_old.csv"]),
        ("_*/*.csv", ["_delta_log/0.csv", "_dt=1/a.csv"]),
        ("**/.*/a.csv", ["day/.tmp/a.csv"]),
        ("**/.*.crc", ["day/.part-0.csv.crc"]),
        ("_old.csv", ["_old.csv"]),
        ("_delta_log/*", ["_delta_log/0.csv"]),
        ("[!b]*/[0-9].csv", []),
    ],
)
@pytest.mark.parametrize("place", ["", "mem://bucket/logs"])
def test_globs_are_alike_on_disks_and_object_stores(tmp_path, place, pattern, expected):
    root = place or str(tmp_path / "logs")
    MemoryFileSystem.reset()
    for name in TREE:
        files.write_text(f"{root}/{name}", "x")
    found = list(files._matching(f"{root}/{pattern}"))
    assert sorted(path.removeprefix(f"{root}/") for path in found) == expected
    if expected:
        assert [path for path, _ in files.match((f"{root}/{pattern}",) * 2)] == sorted(found)  # None twice.


def test_links_to_folders_and_to_nothing(tmp_path):
    (tmp_path / "disk/day").mkdir(parents=True)
    (tmp_path / "disk/day/a.csv").write_text("x")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/link").symlink_to(tmp_path / "disk/day")
    (tmp_path / "logs/loop").symlink_to(tmp_path / "logs")
    assert names(tmp_path / "logs", "*/*.csv") == ["link/a.csv"]
    assert not files.matches(f"{tmp_path}/logs/**/*.csv")
    (tmp_path / "logs/gone.csv").symlink_to(tmp_path / "none")
    with pytest.raises(MalTfError, match="logs/gone.csv: can't be listed or read: No such file"):
        files.match((f"{tmp_path}/logs/*.csv",))


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


def test_what_cannot_be_written_is_named_whatever_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (f"{tmp_path}/file/page.html", "/proc/page.html", f"{tmp_path}/{'x' * 256}"):
        with pytest.raises(MalTfError, match=f"^{path}: can't be written: .*Free disk space or choose another output"):
            files.write_text(path, "text")
    files.write_text(f"{tmp_path}/{'x' * 255}", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x" * 255]
