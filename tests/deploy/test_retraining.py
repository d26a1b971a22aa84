"""The schedule files name what is there."""

import pathlib
import runpy
import shlex
import sys
from unittest import mock

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "retraining"


def test_the_vertex_schedule_runs_yesterdays_span_daily_one_at_a_time(monkeypatch):
    aiplatform = pytest.importorskip("google.cloud.aiplatform")
    job = mock.create_autospec(aiplatform.PipelineJob)
    monkeypatch.setattr(aiplatform, "PipelineJob", job)
    monkeypatch.setattr(aiplatform, "init", mock.create_autospec(aiplatform.init))
    monkeypatch.setattr(
        sys, "argv", ["vertex_schedule.py", "retrain.json", "my-project", "europe-west1", "gs://bucket/tfx"]
    )
    runpy.run_path(str(FOLDER / "vertex_schedule.py"), run_name="__main__")
    aiplatform.init.assert_called_once_with(project="my-project", location="europe-west1")
    made = job.call_args.kwargs
    assert (made["template_path"], made["pipeline_root"]) == ("retrain.json", "gs://bucket/tfx")
    assert made["parameter_values"] == {"span": "yesterday"}  # What the compiled pipeline reads on each day.
    schedule = job.return_value.create_schedule.call_args.kwargs
    zone, *when = schedule["cron"].split()
    assert (zone, len(when), schedule["max_concurrent_run_count"]) == ("TZ=UTC", 5, 1)


def test_cron_runs_a_command_that_is_there():
    from pipelines.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    lines = [line for line in (FOLDER / "crontab").read_text().splitlines() if line and line[0] in "0123456789*"]
    assert lines
    for line in lines:
        words = shlex.split(line)
        program = next(number for number, word in enumerate(words) if word.endswith("mal-tf"))
        assert words[program + 1] in commands
