import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time
import warnings

import pytest

from pipelines import cli
from pipelines.studies.comparison.tasks import Task, finish, workers


def note(word, output):
    """Notes that it was called."""
    with open(pathlib.Path(output).parents[1] / "called", "a") as file:
        file.write(word)
    if word == "bad":
        raise ValueError(word)
    return word.upper()


def task(word):
    return Task("notes", word, f"key-of-{word}", note, (word,))


def test_equal_tasks_are_done_once_and_finished_ones_not_again(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert finish([task("a"), task("b"), task("a")], str(tmp_path), pool) == ["A", "B", "A"]
        assert finish([task("b"), task("c")], str(tmp_path), pool) == ["B", "C"]
    assert (tmp_path / "called").read_text() == "abc"


def test_a_failure_is_raised_and_what_was_done_stays(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="bad"):
            finish([task("a"), task("bad")], str(tmp_path), pool)
        assert finish([task("a")], str(tmp_path), pool) == ["A"]
    assert (tmp_path / "called").read_text() == "abad"


def test_workers_of_the_command_line_are_as_quiet_about_warnings_as_it_is(capfd, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    with workers(1) as pool:
        pool.submit(warnings.warn, "soon to end", FutureWarning).result()
    assert "Warning" not in capfd.readouterr().err


PARENT = """
import os, time
from pipelines.studies.comparison.tasks import workers

if __name__ == "__main__":
    with workers(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, 0)
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent")
