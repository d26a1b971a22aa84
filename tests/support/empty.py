"""Writers of event files without rows, in every format."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([("id", pa.string()), ("user", pa.string()), ("ts", pa.int64())])


def parquet(path, row_group):
    with pq.ParquetWriter(path, SCHEMA) as writer:
        if row_group:
            writer.write_table(SCHEMA.empty_table())


#: Writers of files without rows, by name; those of the first group have a header.
WITH_HEADER = {
    "without-groups.parquet": lambda path: parquet(path, False),
    "with-a-group.parquet": lambda path: parquet(path, True),
    "header.csv": lambda path: path.write_text("id,user,ts\n"),
    "unended.csv": lambda path: path.write_text("id,user,ts"),
    "header.csv.gz": lambda path: path.write_bytes(gzip.compress(b"id,user,ts\r\n")),
}
WITHOUT_HEADER = {
    "zero.csv": lambda path: path.write_bytes(b""),
    "line.csv": lambda path: path.write_bytes(b"\n"),
    "zero.csv.gz": lambda path: path.write_bytes(gzip.compress(b"")),
    "nothing.csv.gz": lambda path: path.write_bytes(b""),
    "zero.jsonl": lambda path: path.write_bytes(b""),
    "line.jsonl": lambda path: path.write_bytes(b"\n \n"),
    "zero.jsonl.gz": lambda path: path.write_bytes(gzip.compress(b"")),
}
EVERY = WITH_HEADER | WITHOUT_HEADER
