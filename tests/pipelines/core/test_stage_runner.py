import hashlib
import json
import logging
import pathlib
import sys
import time

import pytest

from features.errors import MalTfError
from pipelines.core import manifest, stage_runner
from pipelines.core.stage_runner import StageRunner


@pytest.fixture
def brought_up_to_date(tmp_path):
    """Brings a stage up to date, each time as a process of its own would: how often it has run."""
    ran = []

    def run(made_from, content="result", **options):
        def stage(output):
            ran.append(made_from)
            if content is None:
                raise MalTfError("bad input")
            pathlib.Path(output, "part").mkdir()
            pathlib.Path(output, "part/content.txt").write_text(content)
            return {"content": content}

        StageRunner(str(tmp_path / "run"), **options).run("train/mal", [made_from], stage)
        return len(ran)

    return run


def entry(tmp_path, name="train/mal"):
    return json.loads((tmp_path / "run" / name / "manifest.json").read_text())


def test_a_stage_runs_again_only_if_what_it_is_made_from_changed_or_a_file_is_lost(brought_up_to_date, tmp_path):
    assert [brought_up_to_date(made_from) for made_from in ("a", "a", "b", "b")] == [1, 1, 2, 2]
    (tmp_path / "run/train/mal/part/content.txt").unlink()
    assert [brought_up_to_date("b"), brought_up_to_date("b")] == [3, 3]
    assert brought_up_to_date("b", overwrite=True) == 4


def test_the_manifest_has_the_result_and_lists_the_files(brought_up_to_date, tmp_path):
    brought_up_to_date("a")
    assert entry(tmp_path) == {
        "stage": "train/mal",
        "made_from": manifest.fingerprint("train/mal", 1, "a"),
        "result": {"content": "result"},
        "files": [{"path": "part/content.txt", "bytes": 6, "sha256": hashlib.sha256(b"result").hexdigest()}],
    }


def test_the_result_of_before_stays_if_the_stage_fails(brought_up_to_date, tmp_path):
    brought_up_to_date("a")
    with pytest.raises(MalTfError, match="bad input"):
        brought_up_to_date("b", content=None)
    assert entry(tmp_path)["result"] == {"content": "result"}
    assert brought_up_to_date("a") == 2
    assert not (tmp_path / "run/.previous").exists()


def test_a_config_of_the_users_is_not_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("name: shop  # with comments\n")
    with pytest.raises(MalTfError, match=r"config\.yaml is not of a run, and would be overwritten"):
        StageRunner(str(tmp_path)).opened("shop", "name: shop\n").__enter__()
    assert (tmp_path / "config.yaml").read_text() == "name: shop  # with comments\n"


def test_a_full_disk_is_an_error_for_people(tmp_path):
    def full(output):
        raise OSError(28, "No space left on device")

    with pytest.raises(MalTfError, match="journeys: .*No space left"):
        StageRunner(str(tmp_path)).run("journeys", [], full)


def test_a_job_finishes_its_directory_itself_and_is_told_where_the_old_one_may_lie(tmp_path):
    asked = []

    def job(output, backup):
        asked.append((output, backup))
        manifest.begin(output, overwrite=True)
        manifest.finish(output, {"made_from": "logs"})

    for _ in range(2):
        output = StageRunner(str(tmp_path)).run_job("labels", "logs", job)
    assert asked == [(output, str(tmp_path / ".previous/labels"))]


def test_waiting_for_the_chief_is_said_every_minute_and_ends(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(stage_runner, "LONGEST_WAIT", 150)
    other, output = StageRunner(str(tmp_path), chief=False), str(tmp_path / "labels")
    manifest.begin(output, overwrite=False)
    manifest.finish(output, {"made_from": "another config"})
    with (
        caplog.at_level(logging.INFO, "mal_tf.run"),
        pytest.raises(MalTfError, match=r"labels: expected the chief .* within 150 s; check in the chief's log"),
    ):
        other.run_job("labels", "this config", pytest.fail)
    assert caplog.text.count("waiting for the chief to finish") == 3


def test_waiting_ends_when_the_chief_has_finished(tmp_path, monkeypatch):
    output = str(tmp_path / "labels")
    manifest.begin(output, overwrite=False)
    monkeypatch.setattr(time, "sleep", lambda _: manifest.finish(output, {"made_from": "this config"}))
    assert StageRunner(str(tmp_path), chief=False).run_job("labels", "this config", pytest.fail) == output


def test_other_processes_take_part_where_they_are_asked_to_and_write_no_manifest(tmp_path):
    took_part = []
    StageRunner(str(tmp_path), chief=False).run("train/mal", [], took_part.append, everywhere=True)
    assert took_part == [str(tmp_path / "train/mal")] and not (tmp_path / "train/mal").exists()


def test_a_directory_of_another_run_is_not_written_over(tmp_path):
    runner = StageRunner(str(tmp_path / "run"))
    for _ in range(2):
        with runner.opened("shop", "name: shop\n"):
            pass
    with (
        pytest.raises(MalTfError, match="run holds run 'shop', but the config is named 'market'; choose another"),
        runner.opened("market", "name: market\n"),
    ):
        pass
    assert (tmp_path / "run/config.yaml").read_text() == "name: shop\n"


def test_the_error_that_a_command_ended_with_stays_until_one_ends_well(tmp_path):
    runner, failed = StageRunner(str(tmp_path / "run")), tmp_path / "run/failed.txt"
    with pytest.raises(MalTfError), runner.opened("shop", "name: shop\n"):
        raise MalTfError("bad input")
    assert failed.read_text() == "bad input\n"
    with runner.opened("shop", "name: shop\n"):
        assert failed.exists()
    assert not failed.exists()


def test_code_that_asks_to_exit_is_an_error_and_not_the_end(tmp_path):
    with pytest.raises(MalTfError, match=r"train/mal: .*test_stage_runner.py, line \d+: asked to exit with 0"):
        StageRunner(str(tmp_path)).run("train/mal", [1], lambda _: sys.exit(0))
    assert not (tmp_path / "train/mal/manifest.json").exists()
