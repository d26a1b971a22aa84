import time

from features.keras2 import tf
from features.tfrecord import GzippedTFRecords

RECORDS = [b"", b"a", b"\x00" * 5, bytes(range(256)) * 300]


def gzipped(*batches, level=2):
    out = GzippedTFRecords(level)
    for records in batches:
        out.write(records)
    return out.close()


def test_tensorflow_reads_it_back(tmp_path):
    path = tmp_path / "part.gz"
    path.write_bytes(gzipped(RECORDS))
    read = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    assert list(read.as_numpy_iterator()) == RECORDS
    assert gzipped(RECORDS[:1], RECORDS[1:], []) == gzipped(RECORDS)


def test_level_0_is_not_compressed(tmp_path):
    path = tmp_path / "part.gz"
    path.write_bytes(gzipped(RECORDS, level=0))
    assert path.stat().st_size > sum(map(len, RECORDS)) > len(gzipped(RECORDS))
    assert list(tf.data.TFRecordDataset(str(path), compression_type="GZIP").as_numpy_iterator()) == RECORDS


def test_no_records_make_a_readable_file(tmp_path):
    path = tmp_path / "part.gz"
    path.write_bytes(gzipped([]))
    assert list(tf.data.TFRecordDataset(str(path), compression_type="GZIP")) == []


def test_same_bytes_at_another_time(monkeypatch):
    first = gzipped(RECORDS)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert gzipped(RECORDS) == first
