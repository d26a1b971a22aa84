import gzip
import hashlib
import random
import time

import pytest

from features import tfrecord
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


def test_without_isal_zlib_compresses_the_same_records(monkeypatch):
    ours = [gzipped(RECORDS, level=level) for level in range(10)]
    monkeypatch.setattr(tfrecord, "_isal", None)
    assert {tfrecord.encoder(level).split()[0] for level in range(10)} == {"zlib"}
    zlibs = [gzipped(RECORDS, level=level) for level in range(10)]
    assert {gzip.decompress(data) for data in (*ours, *zlibs)} == {tfrecord.frame(RECORDS)}
    assert [ours[level] for level in (0, *range(3, 10))] == [zlibs[level] for level in (0, *range(3, 10))]


#: Of isal 1.9.1, with AVX-512, and without in QEMU as Nehalem, SandyBridge and Haswell. At level 3 these differ.
DIGESTS = {
    1: "fd9c83071910f8441150f4ea09da6946994c9fa4456f6fef97d3732acc7a98fe",
    2: "237a500e92f72fc581b20a1828705010632097d5b7f73ac35037bda761638a59",
}


@pytest.mark.parametrize("level", DIGESTS)
def test_isal_writes_the_same_bytes_on_every_processor(level):
    if tfrecord.encoder(level) != "isal 1.9.1":
        pytest.skip("isal 1.9.1 is not installed")
    words = random.Random(5)
    records = [bytes(words.choices(b"abcdefgh", k=words.randrange(900))) * words.randrange(4) for _ in range(2_000)]
    data = gzipped(records, level=level)
    assert hashlib.sha256(data).hexdigest() == DIGESTS[level]
    assert gzipped(records[:9], records[9:1_999], records[1_999:], level=level) == data
