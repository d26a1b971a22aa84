"""A table of drawn values, in a file of every format as common programs write it."""

import datetime
import decimal
import json

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.orc as po
import pyarrow.parquet as pq
from hypothesis import strategies as st

TEXT = (
    st.none()
    | st.text(st.sampled_from('aé0.1 ,"|+e'), min_size=1, max_size=4)
    | st.sampled_from(["True", "12.0", "007"])
)
INTEGERS = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
EXACT = st.none() | st.integers(-(2**53) + 1, 2**53 - 1)
MOMENTS = st.datetimes(datetime.datetime(2001, 1, 1), datetime.datetime(2024, 1, 1))
DECIMALS = st.none() | st.decimals(-(10**6), 10**6, places=2)
#: 12.50 is not among them: JSON writes it as 12.5.
IDENTITIES = DECIMALS.filter(lambda n: n is None or n == int(n) or n * 10 != int(n * 10))
FLOATS = st.none() | st.floats(-1e6, 1e6, width=32)
TYPES = {
    "id": [(pa.string(), TEXT), (pa.int64(), INTEGERS)],
    "user": [
        (pa.string(), TEXT),
        (pa.int64(), INTEGERS),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), EXACT),
    ],
    "ts": [
        (pa.timestamp("us", "UTC"), MOMENTS),
        (pa.int64(), st.integers(1, 10**9)),
        (pa.float64(), st.just(1e9 + 0.25)),
    ],
    "shop": [(pa.string(), TEXT), (pa.decimal128(12, 2), IDENTITIES), (pa.float64(), EXACT)],
    "flag": [(pa.bool_(), st.none() | st.booleans())],
    "place": [(pa.string(), TEXT), (pa.float64(), EXACT.map(lambda n: n if n is None else n % 1000))],
    "item": [(pa.int64(), INTEGERS), (pa.float64(), EXACT), (pa.decimal128(20, 0), EXACT), (pa.bool_(), st.booleans())],
    "price": [(pa.float64(), FLOATS), (pa.decimal128(12, 2), DECIMALS), (pa.int64(), EXACT)],
    "near": [(pa.list_(pa.float64()), st.none() | st.lists(FLOATS, max_size=3).filter(lambda v: v != [None]))],
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 5))
    columns = {}
    for name, kinds in TYPES.items():
        kind, values = draw(st.sampled_from(kinds))
        columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


def write(rows, folder):
    """Writes the table as Parquet, CSV by pandas, JSON Lines by Python, these by DuckDB, Avro and ORC; returns the paths."""
    pq.write_table(rows, folder / "log.parquet")
    frame = rows.to_pandas(integer_object_nulls=True)
    joined = [
        None if v is None else "|".join("" if one is None else repr(one) for one in v) for v in rows["near"].to_pylist()
    ]
    frame.assign(near=joined).to_csv(folder / "log.csv", index=False)
    with open(folder / "log.jsonl", "w") as file:
        for row in rows.to_pylist():
            file.write(json.dumps(row, default=lambda v: float(v) if isinstance(v, decimal.Decimal) else str(v)) + "\n")
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"CREATE TABLE log AS FROM '{folder}/log.parquet'")
    joined = "array_to_string(list_transform(near, x -> coalesce(x::VARCHAR, '')), '|')"
    database.execute(f"COPY log TO '{folder}/duckdb.parquet'")
    database.execute(f"COPY (SELECT * REPLACE ({joined} AS near) FROM log) TO '{folder}/duckdb.csv'")
    database.execute(f"COPY log TO '{folder}/duckdb.jsonl' (FORMAT json)")
    write_avro(rows, folder / "log.avro")
    write_orc(rows, folder / "log.orc")
    both = [folder / f"{by}.{ending}" for by in ("log", "duckdb") for ending in ("parquet", "csv", "jsonl")]
    return [*both, folder / "log.avro", folder / "log.orc"]


def avro_type(kind, name="r"):
    """The Avro type, with null, of an Arrow type."""
    if pa.types.is_list(kind):
        of = {"type": "array", "items": avro_type(kind.value_type, f"{name}_")}
    elif pa.types.is_struct(kind):
        fields = [{"name": f.name, "type": avro_type(f.type, f"{name}_{f.name}")} for f in kind]
        of = {"type": "record", "name": name, "fields": fields}
    elif pa.types.is_timestamp(kind):
        of = {"type": "long", "logicalType": f"{'' if kind.tz else 'local-'}timestamp-micros"}
    elif pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        precision, scale = (kind.precision, kind.scale) if pa.types.is_decimal(kind) else (20, 0)
        of = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    else:
        of = {"bool": "boolean", "int64": "long", "int32": "int", "binary": "bytes"}.get(str(kind), str(kind))
    return ["null", of]


def write_avro(rows, path, codec="deflate", block=16_000):
    """Writes a table as Avro."""
    if any(pa.types.is_timestamp(kind) for kind in rows.schema.types):  # fastavro takes no integers for times.
        moments = [pa.types.is_timestamp(field.type) for field in rows.schema]
        columns = [
            c.cast(pa.timestamp("us", c.type.tz)) if m else c for c, m in zip(rows.columns, moments, strict=True)
        ]
        rows = pa.table(columns, rows.column_names)
    fields = [{"name": field.name, "type": avro_type(field.type, f"r_{field.name}")} for field in rows.schema]
    unsigned = [field.name for field in rows.schema if pa.types.is_uint64(field.type)]
    lines = rows.to_pylist()
    for row in lines:
        row |= {name: decimal.Decimal(row[name]) for name in unsigned if row[name] is not None}
    with open(path, "wb") as file:
        schema = {"type": "record", "name": "log", "fields": fields}
        fastavro.writer(file, schema, lines, codec, sync_interval=block)


def write_orc(rows, path):
    """Writes a table as ORC, which has no unsigned integers."""
    columns = [c.cast(pa.decimal128(20, 0)) if pa.types.is_uint64(c.type) else c for c in rows.columns]
    po.write_table(pa.table(columns, rows.column_names), path)
