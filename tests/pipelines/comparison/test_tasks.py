import concurrent.futures
import pathlib

import pytest

from pipelines.comparison.tasks import Task, finish


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
