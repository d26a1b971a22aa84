"""Damaged files: named to the record, and read around as if the bad records had never been there."""

import dataclasses
import gzip
import logging
import pathlib

import numpy as np
import pytest

from features.errors import MalTfError
from features.tfrecord import frame, read
from mal_tf.training.split import Split
from tests.mal_tf.training import small
from tests.support.gzipped import flushed


def records(path: str) -> list[bytes]:
    with gzip.open(path) as file:
        return list(read(file))


def rewritten(path: str, framed: bytes) -> None:
    pathlib.Path(path).write_bytes(gzip.compress(framed))


def flipped(path: str) -> None:
    """A bit of record 20 is another."""
    found = records(path)
    before, data = frame(found[:20]), bytearray(frame(found))
    data[len(before) + 40] ^= 1
    rewritten(path, bytes(data))


def foreign(path: str) -> None:
    """Record 20 is whole, but no tf.Example."""
    found = records(path)
    found[20] = b"\xff" * 30
    rewritten(path, frame(found))


def truncated(path: str) -> None:
    """The file ends within a record after the first 20."""
    found = records(path)
    rewritten(path, frame(found)[: len(frame(found[:20])) + 30])


def cut(path: str) -> None:
    """The compressed file ends early."""
    data = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(data[: len(data) // 2])


DAMAGED = 1, 1  # Segment and file: the one with 101 clicks.


@pytest.mark.parametrize(
    ("damage", "lost", "every"), [(flipped, 1, 3), (foreign, 1, 1), (truncated, 81, None), (cut, None, 4)]
)
def test_skipped_and_counted_the_rest_as_if_they_had_never_been(tmp_path, damage, lost, every, caplog):
    split = small.write(tmp_path)
    path = split.segments[DAMAGED[0]][DAMAGED[1]]
    whole = records(path)
    damage(path)
    with pytest.raises(MalTfError, match=r"1-1\.gz: record \d+ can't be read: .*corrupt_records: skip") as error:
        small.train(split, tmp_path / "fails", "base", {})
    if lost:
        assert "record 20 " in str(error.value)
    with caplog.at_level(logging.WARNING, "mal_tf.training"):
        config = {"corrupt_records": "skip", "checkpoint": {"every_steps": every}}
        found, report = small.train(split, tmp_path / "skips", "base", config)
    lost = lost or report["corrupt_records"]
    assert 0 < lost < len(whole)
    assert report["corrupt_records"] == lost and report["examples"] == split.rows - lost
    assert f"1-1.gz: record {20 if lost in (1, 81) else len(whole) - lost} " in caplog.text
    assert f"{len(whole) - lost} records are kept" in caplog.text

    kept = whole[:20] + whole[21:] if lost == 1 else whole[: len(whole) - lost]
    rewritten(path, frame(kept))
    rows = [list(segment) for segment in split.file_rows]
    rows[DAMAGED[0]][DAMAGED[1]] = len(kept)
    expected, _ = small.train(dataclasses.replace(split, file_rows=rows), tmp_path / "clean", "base", {})
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_copy_that_is_damaged_itself_ends_the_training(tmp_path):
    split, config = small.write(tmp_path), {"corrupt_records": "skip", "checkpoint": {"every_seconds": 1e9}}
    flipped(split.segments[DAMAGED[0]][DAMAGED[1]])
    small.train(split, tmp_path / "x", "base", config)
    flipped(str(next((tmp_path / "x").glob("*.repaired.gz"))))
    with pytest.raises(MalTfError, match=r"repaired\.gz: this copy .* remove \S+/x to train from the start"):
        small.train(split, tmp_path / "x", "base", config)


def test_a_file_with_fewer_clicks_than_expected_is_noticed(tmp_path):
    split = small.write(tmp_path, ((40,), (40,)))
    rewritten(split.segments[1][0], frame(records(split.segments[1][0])[:4]))
    with pytest.raises(
        MalTfError, match=r"1-0\.gz: record 4 can't be read: the file should have 40 records, and has 4\. "
    ):
        small.train(split, tmp_path / "x", "base", {})


@pytest.mark.parametrize(("before", "lost"), [(0, 40), (17, 23)])
def test_a_cut_that_leaves_whole_records_is_noticed_in_the_last_block_too(tmp_path, before, lost):
    """A gzip stream whose end is cut off at a full flush, so that no record is broken."""
    split = small.write(tmp_path, ((40,),))
    path = split.segments[0][0]
    data, kept = flushed(records(path), before)
    pathlib.Path(path).write_bytes(data[:kept])
    with pytest.raises(MalTfError, match=rf"0-0\.gz: record {before} can't be read: .* the rest of the file"):
        small.train(split, tmp_path / "fails", "base", {})
    if before:
        _, report = small.train(split, tmp_path / "skips", "base", {"corrupt_records": "skip"})
        assert report["corrupt_records"] == lost


def test_an_empty_member_of_a_joined_file_ends_no_file(tmp_path):
    split = small.write(tmp_path, ((700, 0, 600),))
    joined = b"".join(pathlib.Path(path).read_bytes() for path in split.segments[0])
    pathlib.Path(split.segments[0][0]).write_bytes(joined)
    split = Split([split.segments[0][:1]], [[1300]])
    with pytest.raises(MalTfError, match=r"0-0\.gz: record 700 can't be read: .* empty member of the gzip stream"):
        small.train(split, tmp_path / "fails", "base", {})
    _, report = small.train(split, tmp_path / "skips", "base", {"corrupt_records": "skip"})
    assert report["examples"] == 1300 and report["corrupt_records"] == 0
