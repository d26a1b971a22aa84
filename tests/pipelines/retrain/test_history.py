"""What is recorded of runs that end well, fail, go on, and are killed."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from features.errors import MalTfError
from pipelines.retrain.history import open_history
from pipelines.retrain.metadata import MetadataConfig
from tests.pipelines.retrain.stores import in_memory

#: A process that records one stage after another, so many seconds long each; it says so when it is in the first.
_WRITER = """
import sys, time
from pipelines.retrain.history import open_history
from pipelines.retrain.metadata import MetadataConfig
root, seconds = sys.argv[1], float(sys.argv[2])
with open_history(MetadataConfig(), root).run("2025-05-20", "config", "revision") as run:
    for number in range(100_000):
        with run.stage(f"stage{number}", [f"/made/{number - 1}"]) as stage:
            print(number, flush=True)
            time.sleep(seconds)
            stage.output("labels", f"/made/{number}", "f", number=number)
            stage.output("statistics", f"/seen/{number}", "f", number=number)
"""


def _writer(root: pathlib.Path, seconds: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(root), seconds], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0\n"
    return process


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def _states(history, run) -> dict[str, str]:
    return {stage.name: stage.state for stage in history.stages(run)}


def test_a_run_and_its_stages_are_recorded_with_what_they_made():
    history = in_memory()
    with history.run("2025-05-20", "c1", "r1") as run:
        assert history.runs()[0].outcome == "running"
        with run.stage("labels", ["/elsewhere/fit"]) as stage:
            assert _states(history, history.runs()[0]) == {"labels": "RUNNING"}
            stage.output(
                "labels", "/spans/labels", "f1", days="2025-05-19 … 2025-05-20", clicks=7, share=0.5, mature=True
            )
        with run.stage("checks", ["/spans/labels"]):
            pass
        run.end("refused", ["label_last: 'AUC' 0.61 < 0.65", "second\nline"])
    (found,) = history.runs()
    assert (found.span, found.attempt, found.config, found.revision) == ("2025-05-20", 1, "c1", "r1")
    assert (found.outcome, found.reasons) == ("refused", ["label_last: 'AUC' 0.61 < 0.65", "second\nline"])
    assert _states(history, found) == {"labels": "COMPLETE", "checks": "COMPLETE"}
    labels, checks = history.stages(found)
    (made,) = history.outputs(labels)
    assert (made.kind, made.uri, history.outputs(checks)) == ("labels", "/spans/labels", [])
    assert made.properties == {
        "fingerprint": "f1",
        "days": "2025-05-19 … 2025-05-20",
        "clicks": 7,
        "share": 0.5,
        "mature": True,
    }
    assert type(made.properties["mature"]) is bool
    assert history.last_made("/elsewhere/fit").kind == "external"
    assert history.last_made("/nowhere") is None


def test_a_resumed_run_adds_attempts_but_no_artifacts():
    history = in_memory()
    for fingerprint, state in (("f1", "COMPLETE"), ("f1", "CACHED"), ("f2", "COMPLETE"), ("f1", "CACHED")):
        with history.run("2025-05-20", "c1", "r1") as run, run.stage("labels", ["/fit", "/fit/"]) as stage:
            stage.output("labels", "/spans/labels", fingerprint)
        last = history.runs()[-1]
        assert _states(history, last) == {"labels": state}
        assert history.last_made("/spans/labels").properties["fingerprint"] == fingerprint
    assert [run.attempt for run in history.runs()] == [1, 2, 3, 4]
    assert last.outcome == "finished"
    assert len(history.store.get_artifacts()) == 3  # /fit, and labels made from f1 and from f2.


def test_local_places_are_recorded_from_the_root(tmp_path, monkeypatch):
    history = in_memory()
    monkeypatch.chdir(tmp_path)
    with history.run("2025-05-20", "c1", "r1") as run, run.stage("labels", ["gs://bucket/fit"]) as stage:
        stage.output("labels", "runs/labels")
    assert history.last_made("runs/labels").uri == str(tmp_path / "runs/labels")
    assert history.last_made("gs://bucket/fit").uri == "gs://bucket/fit"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MalTfError("AUC: 1 class"), "AUC: 1 class"), (KeyboardInterrupt("now"), "KeyboardInterrupt: now")],
)
def test_errors_are_recorded_and_raised_on(error, reason):
    history = in_memory()
    with pytest.raises(type(error)), history.run("2025-05-20", "c1", "r1") as run, run.stage("judge") as stage:
        stage.output("judgement", "/spans/judge")
        raise error
    (found,) = history.runs()
    assert (found.outcome, found.reasons) == ("failed", [reason])
    (stage,) = history.stages(found)
    assert (stage.state, stage.reason, history.outputs(stage)) == ("FAILED", reason, [])
    assert history.last_made("/spans/judge") is None


def test_what_the_runner_said_stands_when_it_then_raises():
    history = in_memory()
    with pytest.raises(MalTfError), history.run("2025-05-20", "c1", "r1") as run:
        run.end("stopped", ["price: drift 0.3 > 0.1"])
        raise MalTfError("1 anomaly")
    assert (history.runs()[0].outcome, history.runs()[0].reasons) == ("stopped", ["price: drift 0.3 > 0.1"])


def test_unknown_kinds_and_values_are_refused():
    history = in_memory()
    with history.run("2025-05-20", "c1", "r1") as run, run.stage("labels") as stage:
        with pytest.raises(ValueError, match="kind: expected one of labels, .* found label"):
            stage.output("label", "/spans/labels")
        with pytest.raises(TypeError, match="property days: expected a string, a number or a boolean, found list"):
            stage.output("labels", "/spans/labels", days=["2025-05-19"])


def test_a_killed_run_is_running_until_the_next_one_marks_it_as_abandoned(tmp_path):
    _kill(_writer(tmp_path, "1000"))
    reader = open_history(MetadataConfig(), str(tmp_path), create=False)
    assert [run.outcome for run in reader.runs()] == ["running"]
    assert _states(reader, reader.runs()[0]) == {"stage0": "RUNNING"}
    with open_history(MetadataConfig(), str(tmp_path)).run("2025-05-20", "c1", "r1") as run, run.stage("stage0"):
        pass
    killed, after = reader.runs()
    assert (killed.outcome, after.outcome, after.attempt) == ("abandoned", "finished", 2)
    assert killed.reasons == ["stage0: abandoned: the process was killed or the machine stopped"]
    assert _states(reader, killed) == {"stage0": "CANCELED"}
    assert _states(reader, after) == {"stage0": "COMPLETE"}


@pytest.mark.parametrize("milliseconds", [0, 250])
def test_a_process_killed_while_it_writes_leaves_whole_records(tmp_path, milliseconds):
    process = _writer(tmp_path, "0")
    time.sleep(milliseconds / 1000)
    assert process.poll() is None
    _kill(process)
    reader = open_history(MetadataConfig(), str(tmp_path), create=False)
    assert [run.outcome for run in reader.runs()] == ["running"]
    with open_history(MetadataConfig(), str(tmp_path)).run("2025-05-21", "c1", "r1"):
        pass
    killed, after = reader.runs()
    assert (killed.outcome, after.outcome) == ("abandoned", "finished")
    stages = reader.stages(killed)
    assert [stage.name for stage in stages] == [f"stage{number}" for number in range(len(stages))]
    assert {stage.state for stage in stages[:-1]} <= {"COMPLETE"}
    assert all(len(reader.outputs(stage)) == (2 if stage.state == "COMPLETE" else 0) for stage in stages)
    assert _integrity(tmp_path / "metadata.sqlite") == "ok"


def test_readers_and_a_writer_bear_each_other(tmp_path):
    process = _writer(tmp_path, "0.1")
    until, seen = time.monotonic() + 3, 0
    while time.monotonic() < until:
        reader = open_history(MetadataConfig(), str(tmp_path), create=False)
        (run,) = reader.runs()
        assert run.outcome == "running"
        assert seen <= (seen := len(reader.stages(run)))
    assert seen > 2
    assert process.poll() is None
    _kill(process)


def _integrity(path: pathlib.Path) -> str:
    """SQLite's own check, in another process: Python's copy of SQLite would drop the locks of ML Metadata's."""
    check = f"import sqlite3; print(*sqlite3.connect({str(path)!r}).execute('PRAGMA integrity_check').fetchone())"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.strip()


_FULL = """
import resource, signal, sys
from pipelines.retrain.history import open_history
from pipelines.retrain.metadata import MetadataConfig
history = open_history(MetadataConfig(), sys.argv[1])
try:
    with history.run("2025-05-20", "config", "revision") as run:
        for number in range(1_000):
            with run.stage(f"stage{number}") as stage:
                stage.output("labels", f"/made/{number}", text="x" * 10_000)
                if number == 3:
                    size = __import__("os").path.getsize(sys.argv[1] + "/metadata.sqlite")
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, size + 20_000))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_disk_that_fills_up_ends_the_run_with_a_message_and_the_next_goes_on(tmp_path):
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"MalTfError {tmp_path}/metadata.sqlite can't be used"), done.stderr
    assert "the disk is not full" in done.stdout
    assert "custom_properties" not in done.stdout  # The record that ML Metadata quotes.
    history = open_history(MetadataConfig(), str(tmp_path))
    with history.run("2025-05-20", "c1", "r1") as run, run.stage("labels") as stage:
        stage.output("labels", "/made/0", text="x" * 10_000)
    full, after = history.runs()
    assert full.outcome in ("abandoned", "failed")
    assert after.outcome == "finished"
    assert _states(history, after) == {"labels": "CACHED"}
    assert "RUNNING" not in json.dumps(_states(history, full))


def test_readers_make_no_store(tmp_path):
    with pytest.raises(MalTfError, match=f"{tmp_path}/metadata.sqlite: .* no span was run yet"):
        open_history(MetadataConfig(), str(tmp_path), create=False)
    assert not list(tmp_path.iterdir())
    open_history(MetadataConfig(), str(tmp_path))
    assert open_history(MetadataConfig(), str(tmp_path), create=False).runs() == []
