"""Single TFRecord files, read to their end or refused."""

import gzip

import numpy as np
import pytest

from features.errors import MalTfError
from features.tfrecord import frame
from pipelines.clicks import tfrecords
from tests.support.gzipped import flushed

RECORDS = [bytes([number % 251]) * (number % 90) for number in range(3000)]


def read(path, rows=None, size=64):
    return [record for batch in tfrecords.read(str(path), size, rows) for record in batch.numpy()]


def test_whole_files_are_read_gzipped_joined_or_plain(tmp_path):
    path = tmp_path / "clicks.gz"
    halves = gzip.compress(frame(RECORDS[:700])), gzip.compress(frame(RECORDS[700:]))
    for data in (frame(RECORDS), gzip.compress(frame(RECORDS)), b"".join(halves)):
        path.write_bytes(data)
        assert read(path) == read(path, len(RECORDS)) == RECORDS
    for data in (b"", gzip.compress(b"")):
        path.write_bytes(data)
        assert read(path) == read(path, 0) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_gzip_stream_is_noticed_wherever_it_was_cut(tmp_path, share):
    path, data = tmp_path / "clicks.gz", gzip.compress(frame([np.random.default_rng(0).bytes(40)] * 1000 + RECORDS))
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        MalTfError, match=r"clicks\.gz( can't be read.* truncated record|: expected a complete gzip file, found a cut)"
    ):
        read(path)


@pytest.mark.parametrize("at", [0, 1, 64, 2999])
def test_a_cut_between_records_is_noticed(tmp_path, at):
    path, (data, end) = tmp_path / "clicks.gz", flushed(RECORDS, at)
    path.write_bytes(data[:end])
    with pytest.raises(MalTfError, match="expected a complete gzip file"):
        read(path)
    with pytest.raises(
        MalTfError, match=rf"expected 3,000 records, as its manifest says, found {at:,}; the file was cut"
    ):
        read(path, len(RECORDS))


@pytest.mark.parametrize("sizes", [(500, 0, 500), (0, 700), (30, 0), (1, 0, 1), (900, 0, 0, 900)])
def test_an_empty_member_hides_nothing(tmp_path, sizes):
    """TensorFlow's reader may stop there or go on, depending on the sizes."""
    path, ends = tmp_path / "clicks.gz", np.cumsum([0, *sizes])
    parts = [RECORDS[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]
    path.write_bytes(b"".join(gzip.compress(frame(part)) for part in parts))
    for rows in (None, sum(sizes)):
        try:
            assert read(path, rows) == RECORDS[: sum(sizes)]
        except MalTfError as error:
            assert "empty member after" in str(error) if rows is None else "as its manifest says" in str(error)


def test_plain_files_are_checked_too(tmp_path):
    path = tmp_path / "clicks.tfrecord"
    for data in (b"x", frame(RECORDS)[:-5], b"id,ts\n1,2\n", frame(RECORDS) + b"12"):
        path.write_bytes(data)
        with pytest.raises(MalTfError, match=r"clicks\.tfrecord can't be read as TFRecord"):
            read(path)
    path.write_bytes(frame(RECORDS[:-1]))
    with pytest.raises(MalTfError, match="expected 3,000 records"):
        read(path, len(RECORDS))
