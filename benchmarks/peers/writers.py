"""Small files of each type, as other programs write them: `python writers.py FOLDER`.

Runs in an environment of its own (`requirements-writers.txt`); `benchmarks.compatibility` calls it. Each file has row numbers `n`
and the column `x` of one type, with two values and a null. `files.json` lists the files and, where there is none, the
writer's own words.
"""

import datetime
import decimal
import importlib.metadata
import json
import pathlib
import sys
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

MOMENT = datetime.datetime(2024, 3, 10, 1, 2, 3, 456789)
UTC = datetime.timezone.utc
UUIDS = [uuid.UUID("c0ffee00-1234-4678-9234-56781234cafe"), uuid.UUID("f81d4fae-7dec-41d0-a765-00a0c91e6bf6")]

#: By name: Arrow type, the two values, DuckDB's type.
TYPES = {
    "int8": (pa.int8(), [-1, 12], "TINYINT"),
    "int64": (pa.int64(), [2**53 + 1, -(2**63) + 1], "BIGINT"),
    "uint64": (pa.uint64(), [1, 2**64 - 1], "UBIGINT"),
    "float16": (pa.float16(), [0.5, 12.0], None),
    "float64": (pa.float64(), [0.1, 12.0], "DOUBLE"),
    "decimal(38, 0)": (pa.decimal128(38, 0), [decimal.Decimal(2**53 + 1), decimal.Decimal(10**30)], "DECIMAL(38, 0)"),
    "decimal(12, 2)": (pa.decimal128(12, 2), [decimal.Decimal("12.00"), decimal.Decimal("0.10")], "DECIMAL(12, 2)"),
    "text": (pa.string(), ["007", "é"], "VARCHAR"),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", "12.0"], "ENUM('a', '12.0')"),
    "binary": (pa.binary(), ["é".encode(), b"ab"], "BLOB"),
    "uuid": (None, UUIDS, "UUID"),
    "boolean": (pa.bool_(), [True, False], "BOOLEAN"),
    "date": (pa.date32(), [MOMENT.date(), datetime.date(2024, 2, 29)], "DATE"),
    "timestamp[ns]": (pa.timestamp("ns"), [MOMENT, MOMENT.replace(microsecond=1)], "TIMESTAMP_NS"),
    "timestamp[us]": (pa.timestamp("us"), [MOMENT, MOMENT.replace(microsecond=1)], "TIMESTAMP"),
    "timestamp[us, UTC]": (
        pa.timestamp("us", "UTC"),
        [MOMENT.replace(tzinfo=UTC), MOMENT.replace(microsecond=1, tzinfo=UTC)],
        "TIMESTAMPTZ",
    ),
    "time": (pa.time64("us"), [MOMENT.time(), datetime.time(1)], "TIME"),
    "duration": (pa.duration("us"), [datetime.timedelta(hours=1), datetime.timedelta(seconds=1)], "INTERVAL"),
}


def arrow(name):
    """The column as an Arrow table."""
    kind, values, _ = TYPES[name]
    if kind is None:
        kind, values = pa.uuid(), [value.bytes for value in values]
    column = pa.array([*values, None], pa.string() if pa.types.is_dictionary(kind) else kind)
    if pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
    return pa.table({"n": [1, 2, 3], "x": column})


def pyarrow(name, path):
    """Parquet and CSV by pyarrow."""
    if path.suffix == ".parquet":
        pq.write_table(arrow(name), path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(arrow(name), path)
    else:
        return "writes no JSON Lines"


def pandas(name, path):
    """All formats by pandas, from its own types."""
    frame = arrow(name).to_pandas()
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)


def fastparquet(name, path):
    """Parquet by fastparquet, from pandas' types."""
    if path.suffix != ".parquet":
        return "writes no CSV or JSON Lines"
    arrow(name).to_pandas().to_parquet(path, engine="fastparquet")


def polars(name, path):
    """All formats by Polars."""
    frame = pl.from_arrow(arrow(name))
    write = {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}
    write[path.suffix](path)


def duckdb_(name, path):
    """All formats by DuckDB, from its own types."""
    _, values, kind = TYPES[name]
    if kind is None:
        return "has no such type"
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.execute(f"create table t (n integer, x {kind})")
    connection.executemany("insert into t values (?, ?)", [*enumerate([*values, None], 1)])
    formats = {".parquet": "parquet", ".csv": "csv, header", ".jsonl": "json"}
    connection.execute(f"copy t to '{path}' (format {formats[path.suffix]})")


WRITERS = {"pyarrow": pyarrow, "pandas": pandas, "fastparquet": fastparquet, "polars": polars, "duckdb": duckdb_}


def main():
    """Write all files."""
    folder, listed = pathlib.Path(sys.argv[1]), []
    for writer, write in WRITERS.items():
        version = importlib.metadata.version(writer)
        for suffix in ("parquet", "csv", "jsonl"):
            for number, name in enumerate(TYPES):
                path = folder / f"{writer}-{number}.{suffix}"
                row = {"writer": f"{writer} {version}", "format": suffix, "type": name, "file": path.name}
                try:
                    reason = write(name, path)
                except BaseException as error:  # Polars' panics are no Exceptions.
                    reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
                listed.append(row | ({"reason": reason} if reason else {}))
    expected = {
        name: [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        for name, (_, values, _) in TYPES.items()
    }
    (folder / "files.json").write_text(json.dumps({"files": listed, "values": expected}, indent=1))


if __name__ == "__main__":
    main()
