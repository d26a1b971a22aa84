"""The label job on real files: what is written, what is refused, what survives."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.errors import BadInput, MalTfError
from pipelines.config.run import load
from pipelines.labels import run
from tests.support.labels import HOUR, oracle, read_labels, tree
from tests.support.project import DAY, START


def test_labels_agree_with_the_oracle_and_files_are_as_promised(project):
    project.write()
    report = project.labels()
    folder = project.folder / "labels"
    found = read_labels(folder)
    mature = {c["id"] for c in project.clicks.to_pylist() if c["ts"] + 12 * HOUR <= START + 3 * DAY}
    assert set(found) == mature
    for click, labels in oracle(project.clicks, project.conversions, 12 * HOUR).items():
        if click in mature:
            assert {k: found[click][k] for k in labels} == pytest.approx(labels, abs=1e-6)
    splits = [f"Split-train/data_tfrecord-{i:05d}-of-00004.gz" for i in range(4)]
    splits += [f"Split-eval/data_tfrecord-{i:05d}-of-00004.gz" for i in range(4)]  # the cut-off itself has a segment
    others = ["attribution/mta.json", "attribution/touchpoint.txt", "label_report.json", "manifest.json"]
    vocabularies = [f"vocabulary/{name}.txt" for name in ("item", "place", "price")]
    assert sorted(tree(folder)) == sorted([*splits, *others, *vocabularies])
    clicks = report["clicks"]
    assert clicks["read"] == 600 == clicks["written"] + clicks["immature_dropped"]
    classes = set(report["splits"]["train"]["cat_classes"])
    assert classes <= {"0", *(str(c) for c in range(16) if c & 4)}  # linear = 0 forces all labels to 0


def test_same_bytes_twice_and_same_labels_in_any_order_and_sharding(project):
    project.write()
    project.labels("once")
    shuffled = np.random.default_rng(1).permutation(project.clicks.num_rows)
    project.clicks = project.clicks.take(pa.array(shuffled))
    project.write()
    project.labels("again")
    once, again = tree(project.folder / "once"), tree(project.folder / "again")
    once.pop("manifest.json"), again.pop("manifest.json")  # fingerprint of the input; seconds
    assert once == again
    project.config["labels"]["shards"] = 5
    project.write()
    project.labels("five")
    assert read_labels(project.folder / "five") == read_labels(project.folder / "once")


def test_duplicates_bad_rows_and_unmatched_conversions(project):
    rows = project.clicks.to_pylist()
    bad = [
        rows[0] | {"id": 9001, "user": None},
        rows[1] | {"id": 9002, "ts": -5},
        rows[2] | {"id": 9003, "ts": START + 100 * 365 * DAY},
        rows[2] | {"id": 9004, "ts": START + 4 * DAY},
    ]
    repeats = [rows[3], rows[4] | {"price": 1.5}]
    project.clicks = pa.Table.from_pylist(rows + bad + repeats, project.clicks.schema)
    lonely = {"id": "lonely", "user": "nobody", "shop": "s0", "ts": START}
    project.conversions = pa.Table.from_pylist([*project.conversions.to_pylist(), lonely])
    project.write()
    report = project.labels()
    assert report["clicks"]["exact_repeats"] == 1
    assert report["clicks"]["after_observed_until"] == 1
    assert report["dead_letters"]["clicks"] == {
        "click_id is a duplicate with other content": 1,
        "timestamp is in the future: after the start of this job": 1,
        "timestamp is negative": 1,
        "user_id is null": 1,
    }
    assert report["conversions"]["without_click"] >= 1
    letters = (project.folder / "labels/dead_letter/clicks-00000.jsonl").read_text().splitlines()
    letters = [json.loads(line) for line in letters]
    assert {letter["row"] for letter in letters} - {5, 606} == {601, 602, 603}
    assert all(letter["file"].endswith("clicks.parquet") for letter in letters)


def test_too_many_bad_rows_fail_and_leave_no_manifest(project):
    times = pc.if_else(pc.less(project.clicks["id"], 60), -1, project.clicks["ts"])
    project.clicks = project.clicks.set_column(3, "ts", times)
    project.write()
    with pytest.raises(MalTfError, match="60 of 600 rows of the clicks table are bad.*timestamp is negative"):
        project.labels()
    assert not (project.folder / "labels/manifest.json").exists()
    assert not (project.folder / "labels/_exchange").exists()  # as large as the log


def damage(project, what):
    folder = project.folder
    if what == "missing column":
        project.clicks = project.clicks.drop(["ts"])
        project.write()
    elif what == "mistyped column":
        project.clicks = project.clicks.set_column(1, "user", pa.array([[1.5]] * 600))
        project.write()
    elif what == "empty file":
        project.write()
        (folder / "clicks.parquet").write_bytes(b"")
    elif what == "corrupt Parquet":
        project.write()
        data = bytearray((folder / "clicks.parquet").read_bytes())
        data[100:400] = b"\x00" * 300
        (folder / "clicks.parquet").write_bytes(data)
    elif what == "no file":
        project.write()
        (folder / "clicks.parquet").unlink()
    elif what == "no conversions":
        project.conversions = project.conversions.slice(0, 0)
        project.write()
    elif what == "truncated gzip":
        project.config["sources"]["clicks"]["files"] = "clicks.csv.gz"
        project.write()
        pyarrow.csv.write_csv(project.clicks, folder / "clicks.csv")
        (folder / "clicks.csv.gz").write_bytes(gzip.compress((folder / "clicks.csv").read_bytes())[:-2000])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing column", "column 'ts' of the clicks table is missing; found columns"),
        ("mistyped column", "column 'user' of the clicks table: expected strings or integers, found list"),
        ("empty file", "clicks.parquet: expected a table, found an empty file"),
        ("corrupt Parquet", "clicks.parquet can't be read as parquet"),
        ("no file", "no file matches"),
        ("no conversions", "no conversions found"),
        ("truncated gzip", "clicks.csv.gz can't be read as csv"),
    ],
)
def test_damaged_input_is_named_and_nothing_passes_for_finished(project, what, message):
    damage(project, what)
    with pytest.raises(MalTfError) as error:
        project.labels()
    assert message in str(error.value)
    assert isinstance(error.value, BadInput) == (what != "no file")
    assert not (project.folder / "labels/manifest.json").exists()


@pytest.mark.parametrize("name", ["clicks.parquet", "clicks.csv", "clicks.csv.gz"])
def test_a_misspelt_column_stands_among_those_that_the_file_has(project, name):
    path = str(project.folder / name)
    if name.endswith("parquet"):
        pq.write_table(project.clicks, path)
    else:
        with pa.CompressedOutputStream(path, "gzip") if name.endswith("gz") else pa.OSFile(path, "wb") as out:
            pyarrow.csv.write_csv(project.clicks, out)
    project.config["sources"]["clicks"]["files"] = name
    project.config["sources"]["clicks"]["columns"]["timestamp"] = "time"
    project.write()
    with pytest.raises(BadInput) as error:
        project.labels()
    found = re.search("column 'time' of the clicks table is missing; found columns: ([^.]*)", str(error.value))[1]
    assert set(found.split(", ")) == set(project.clicks.schema.names)


def test_a_misspelt_column_takes_no_finished_labels_away(project):
    project.write()
    project.labels()
    before = {path: path.stat().st_mtime_ns for path in (project.folder / "labels").rglob("*") if path.is_file()}
    project.config["sources"]["clicks"]["columns"]["timestamp"] = "time"
    with pytest.raises(BadInput, match="column 'time' of the clicks table is missing"):
        run.run(load(project.write()), str(project.folder / "labels"), overwrite=True)
    assert before == {
        path: path.stat().st_mtime_ns for path in (project.folder / "labels").rglob("*") if path.is_file()
    }


def test_a_first_file_without_rows_need_not_have_all_columns(project):
    """An empty day, written before a column was added."""
    project.config["sources"]["clicks"]["files"] = "clicks*.parquet"
    project.write()
    pq.write_table(project.clicks.select(["id", "user", "ts"])[:0], project.folder / "clicks-0.parquet")
    assert project.labels()["clicks"]["read"] == project.clicks.num_rows


def test_another_unit_of_time_is_thought_of(project):
    project.config["sources"]["time_unit"] = "ms"
    project.write()
    with pytest.raises(
        BadInput, match="from 1970-01-20 .* UTC on. Check sources.time_unit and look for stray early timestamps"
    ):
        project.labels()


def test_csv_gives_the_same_labels_and_malformed_lines_are_dead_letters(project):
    project.write()
    project.labels("parquet")
    for name, table in (("clicks", project.clicks), ("conversions", project.conversions)):
        pyarrow.csv.write_csv(table, project.folder / f"{name}.csv")
        project.config["sources"][name]["files"] = f"{name}.csv"
    lines = (project.folder / "clicks.csv").read_text().splitlines()
    lines.insert(5, "1,2")
    lines.append('900,"u1","s1",soon,"top",3,1.0')
    (project.folder / "clicks.csv").write_text("\n".join(lines) + "\n")
    project.write()
    report = project.labels("csv")
    assert report["splits"]["train"]["mechanisms"]["linear"]["positives"] > 0
    assert report["dead_letters"]["clicks"] == {
        "timestamp is not a time": 1,
        "wrong columns: expected 7, found 2": 1,
    }
    letters = (project.folder / "csv/dead_letter/clicks-00000.jsonl").read_text().splitlines()
    assert [json.loads(letter)["row"] for letter in letters] == [5, 602]
    strip = ("label_first", "label_last", "label_linear")
    expected = json.loads((project.folder / "parquet/label_report.json").read_text())["splits"]["train"]["mechanisms"]
    for name in strip:
        mechanism = name.removeprefix("label_")
        assert report["splits"]["train"]["mechanisms"][mechanism] == expected[mechanism]


def test_output_in_use_finished_or_foreign_is_refused(project):
    from pipelines.core import locks

    project.write()
    project.labels()
    with pytest.raises(MalTfError, match="finished already"):
        project.labels()
    foreign = project.folder / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(MalTfError, match="was not made by mal-tf"):
        project.labels("foreign")
    assert (foreign / "thesis.txt").exists()
    with locks.lock(str(project.folder / "run")):
        holder = f"from pipelines.core import locks\nwith locks.lock({str(project.folder / 'run')!r}): pass"
        done = subprocess.run([sys.executable, "-c", holder], capture_output=True, text=True, check=False)
    assert f"in use by process {os.getpid()}" in done.stderr


def test_killed_job_leaves_no_manifest_and_the_next_one_finishes(project):
    config = project.write()
    output = project.folder / "run"
    command = [sys.executable, "-m", "pipelines.cli", "labels", config, "--output", str(output)]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(output.glob("labels/Split-*/*.gz")) and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not (output / "labels/manifest.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (output / "labels/manifest.json").exists()
    assert not list(output.rglob("*.partial"))


def test_full_disk_is_said_and_nothing_passes_for_finished(project):
    small = project.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        project.write()
        with pytest.raises(MalTfError, match="No space left on device"):
            project.labels("small/labels")
        assert not (small / "labels/manifest.json").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
