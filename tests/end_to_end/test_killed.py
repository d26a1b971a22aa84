"""`mal-tf run` killed over and over, in training, in a checkpoint, in export: the next one goes on, with the same result."""

import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import Interrupted
from pipelines import cli
from tests.support.project import Project


def start(config: str, output: pathlib.Path, overrides=()) -> subprocess.Popen:
    command = [sys.executable, "-m", "pipelines.cli", "run", config, "--output", str(output)]
    command += [word for override in overrides for word in ("--set", override)]
    environment = os.environ | {"COLUMNS": "500"}  # Messages on one line.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def stop(running: subprocess.Popen, words: str, which: int, delay: float, how: signal.Signals) -> str:
    """Sends a signal `delay` seconds after the `which`-th line with these words; returns what the process printed."""
    shown, seen = [], itertools.count(1)
    for line in running.stdout:
        shown.append(line)
        if words in line and next(seen) == which:
            time.sleep(delay)
            running.send_signal(how)
    running.wait()
    return "".join(shown)


def finish(running: subprocess.Popen) -> int:
    """Reads what the process prints, which a full pipe would stop, to its end; returns its exit code."""
    running.communicate()
    return running.returncode


def outcome(output: pathlib.Path) -> tuple[dict, bytes]:
    predictions = pq.read_table(output / "evaluate/predictions.parquet").to_pydict()
    return predictions, (output / "evaluate/metrics.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_it_ends_the_same(tmp_path, seed):
    generator, project = np.random.default_rng(seed), Project(tmp_path)
    project.config["training"] = {"batch_size": 8, "checkpoint": {"every_steps": 1}}
    config, whole, killed = project.write(), tmp_path / "whole", tmp_path / "killed"
    assert finish(start(config, whole)) == 0
    moments = [
        ("checkpoint of step", int(generator.integers(1, 40)), generator.random() / 20),
        ("checkpoint of step", int(generator.integers(1, 8)), generator.random() / 20),
        ("train/mal: done", 1, 0.0),
        ("export/mal: started", 1, generator.random() * 4),
        ("graph: ", 2, generator.random() * 8),
    ]
    for moment in moments:
        running = start(config, killed)
        shown = stop(running, *moment, signal.SIGKILL)
        assert running.returncode in (0, -signal.SIGKILL), shown  # The last ones may come too late.
    assert finish(start(config, killed)) == 0
    assert outcome(killed) == outcome(whole)
    versions = sorted(path.name for path in (killed / "serving/mal").iterdir())
    assert versions in (
        ["1"],
        ["1", "2"],
    )  # Killed between the version's appearing and its being noted, another is made.
    assert not list((killed / "checkpoints").glob("*"))


@pytest.mark.slow
def test_sigterm_ends_with_75_and_the_next_run_goes_on(tmp_path):
    project = Project(tmp_path)
    project.config["training"] = {"batch_size": 8}
    config, whole, stopped = project.write(), tmp_path / "whole", tmp_path / "stopped"
    assert finish(start(config, whole)) == 0
    every = ["training.checkpoint.every_steps=1"]  # It changes nothing of the result, and no fingerprint.
    running = start(config, stopped, every)
    shown = stop(running, "checkpoint of step", 5, 0.0, signal.SIGTERM)
    assert running.returncode == 75 and "stopped by SIGTERM after step" in shown
    again = start(config, stopped)
    assert "resumes after step" in again.communicate()[0] and again.returncode == 0
    assert outcome(stopped) == outcome(whole)


def test_an_interrupted_command_exits_with_75(monkeypatch, capsys):
    def interrupted():
        raise Interrupted("stopped by SIGTERM after step 7")

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 75
    assert "after step 7" in capsys.readouterr().err
