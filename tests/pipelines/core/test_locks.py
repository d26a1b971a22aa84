"""Directories that a single process writes, whichever way it comes in."""

import contextlib
import multiprocessing

import pytest

from features.errors import Busy, MalTfError
from pipelines.core import locks
from pipelines.core.stage_runner import StageRunner


def test_a_directory_that_can_t_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(MalTfError, match=f"{path}: expected a writable directory"), locks.lock(str(path)):
            pass


def _hold(directory, alone, pipe):
    with locks.lock(str(directory), alone=alone):
        pipe.send("held")
        pipe.poll(600)


@contextlib.contextmanager
def held(directory, alone=False):
    """Another process holds a directory; yields its id."""
    forks = multiprocessing.get_context("fork")
    here, there = forks.Pipe()
    process = forks.Process(target=_hold, args=(directory, alone, there))
    process.start()
    try:
        assert here.poll(60) and here.recv() == "held"
        yield process.pid
    finally:
        process.kill()
        process.join()


@pytest.fixture
def places(tmp_path):
    """Spellings of a run, of its stages, and of what is beside it."""
    run, elsewhere = tmp_path / "runs/shop", tmp_path / "disk/labels"
    for directory in (run / "train/mal", run.parent / "other", elsewhere):
        directory.mkdir(parents=True)
    (tmp_path / "link").symlink_to(run)
    (run / "labels").symlink_to(elsewhere)
    return {
        "run": run,
        "linked run": tmp_path / "link",
        "dotted run": run / "../shop/.",
        "stage": run / "evaluate",
        "deep stage": tmp_path / "link/train/mal",
        "other run": run.parent / "other",
        "labels": run / "labels",
        "target of labels": elsewhere,
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("run", "linked run"),
        ("run", "dotted run"),
        ("run", "stage"),
        ("linked run", "deep stage"),
        ("stage", "run"),
        ("deep stage", "dotted run"),
        ("labels", "target of labels"),
        ("target of labels", "labels"),
    ],
)
def test_a_place_is_written_by_one_process_whichever_way_it_comes_in(places, first, second):
    with held(places[first]) as process, pytest.raises(Busy, match=rf"in use by process {process};"):
        locks.lock(str(places[second])).__enter__()
    with locks.lock(str(places[second])):  # Free again.
        pass


@pytest.mark.parametrize(
    ("first", "second"), [("run", "other run"), ("stage", "deep stage"), ("deep stage", "other run")]
)
def test_parts_that_do_not_overlap_are_free(places, first, second):
    with held(places[first]), locks.lock(str(places[second])):
        pass


def test_one_process_may_lock_a_directory_and_then_a_part_of_it(places):
    with locks.lock(str(places["run"])), locks.lock(str(places["deep stage"])), pytest.raises(Busy):
        locks.lock(str(places["linked run"])).__enter__()


def test_versions_may_change_during_a_retraining(tmp_path):
    """As a rollback does."""
    with held(tmp_path), locks.lock(str(tmp_path / "serving"), alone=True):
        pass
    with held(tmp_path / "serving", alone=True), locks.lock(str(tmp_path)):
        pass


def test_a_stage_that_a_link_leads_to_is_locked_where_it_is(places):
    runner = StageRunner(str(places["run"]))
    with runner.opened("shop", "name: shop\n"), held(places["target of labels"]), pytest.raises(Busy):
        runner.run("labels", [], lambda output: None)
