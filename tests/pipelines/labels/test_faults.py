"""Faults, really injected: afterwards the output is complete or absent, and no row is lost."""

import json
import signal
import subprocess
import sys

import pyarrow as pa
import pytest

from features.errors import MalTfError
from pipelines.labels import read_logs, steps
from tests.support.labels import tree


def accounted(manifest):
    """Rows read and rows that the manifest accounts for, by table."""
    found = {}
    for name, rows in manifest["rows"].items():
        out = [n for key, n in rows.items() if key not in ("read", "immature_marked", "attributed", "without_click")]
        found[name] = (rows["read"], sum(out))
    return found


@pytest.mark.parametrize("step", [read_logs.Read, steps.Prepare, steps.Statistics, steps.Label])
def test_a_bundle_that_fails_once_and_is_tried_again_changes_nothing(project, monkeypatch, step):
    project.write()
    project.labels("once")
    process, failed = step.process, []

    def try_twice(self, element, *sides):
        # What a runner does: the first attempt's side effects stay, its outputs are thrown away.
        with pytest.raises(ConnectionError):
            list(process(self, element, *sides))
            failed.append(element)
            raise ConnectionError("worker lost")
        yield from process(self, element, *sides)

    monkeypatch.setattr(step, "process", try_twice)
    project.labels("again")
    assert len(failed) >= 2
    once, again = tree(project.folder / "once"), tree(project.folder / "again")
    manifests = [json.loads(found.pop("manifest.json")) for found in (once, again)]
    assert once == again
    assert manifests[0]["rows"] == manifests[1]["rows"]
    assert all(read == out for read, out in accounted(manifests[1]).values())


def test_a_worker_that_raises_fails_the_job_and_the_next_one_is_whole(project, monkeypatch):
    project.write()
    with monkeypatch.context() as patch:
        patch.setattr(steps, "count_labels", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            project.labels()
    assert not (project.folder / "labels/manifest.json").exists()
    project.labels()
    project.labels("fresh")
    left, fresh = tree(project.folder / "labels"), tree(project.folder / "fresh")
    left.pop("manifest.json"), fresh.pop("manifest.json")
    assert left == fresh


KILLED = """
import os, signal, sys
from pipelines.core import manifest
from pipelines.config.run import load
from pipelines.labels import run, steps

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "before the manifest":
    manifest.finish = die
elif sys.argv[1] == "at the first shard":
    steps.count_labels = die
else:
    seen, label = [], steps.Label.process
    def second(self, element, *sides):
        if seen:
            die()
        seen.append(element)
        yield from label(self, element, *sides)
    steps.Label.process = second
run.run(load(sys.argv[2]), sys.argv[3], overwrite=True)
"""


@pytest.mark.parametrize("when", ["at the first shard", "between shards", "before the manifest"])
def test_killed_and_run_again_with_another_number_of_shards(project, when):
    config = project.write()
    output = project.folder / "labels"
    command = [sys.executable, "-c", KILLED, when, config, str(output)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(output.glob("Split-*/*.gz"))
    assert not (output / "manifest.json").exists()
    project.config["labels"]["shards"] = 3
    project.write()
    project.labels()
    project.labels("fresh")
    again, fresh = tree(output), tree(project.folder / "fresh")
    manifest = json.loads(again.pop("manifest.json"))
    fresh.pop("manifest.json")
    assert again == fresh  # no shard of the first run is left for a glob to find
    assert all(read == out for read, out in accounted(manifest).values())


def test_a_corrupt_row_group_in_the_middle_is_named_and_nothing_passes_for_finished(project):
    import pyarrow.parquet as pq

    project.write()
    path = project.folder / "clicks.parquet"
    second = pq.ParquetFile(path).metadata.row_group(1).column(3)
    data = bytearray(path.read_bytes())
    begin = second.data_page_offset + 10
    data[begin : begin + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(MalTfError, match=r"clicks\.parquet can't be read as parquet"):
        project.labels()
    assert not (project.folder / "labels/manifest.json").exists()


def test_a_bad_row_with_any_kind_of_line_break_is_a_dead_letter(project):
    row = project.clicks.slice(0, 1).to_pylist()[0]
    breaks = [row | {"id": 9000 + i, "ts": -1, "place": f"a{c}b"} for i, c in enumerate("\u2028\u2029\x85\x1c\r\n")]
    project.clicks = pa.Table.from_pylist(project.clicks.to_pylist() + breaks, project.clicks.schema)
    project.config["labels"]["max_bad_share"] = 0.1
    project.write()
    assert project.labels()["clicks"]["dead_letters"] == len(breaks)
    letters = (project.folder / "labels/dead_letter/clicks-00000.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(letter)["record"]["place"] for letter in letters] == [b["place"] for b in breaks]
