#!/bin/sh
# DuckDB 1.5.6: sums of integers, and HUGEINT, are written to Parquet as DOUBLE; to CSV and JSON exactly.
#
# sum() of BIGINT is a HUGEINT, for which Parquet has DECIMAL(38, 0) and FIXED_LEN_BYTE_ARRAY. DuckDB writes a DOUBLE, without a
# word, so 2^53 + 1 becomes 2^53, while max() and count() of the same column stay INT64. An id that went through a HUGEINT, or
# cents that were summed, are rounded in the Parquet file and right in the CSV file of the same query. UBIGINT, and a cast of the
# sum to BIGINT or DECIMAL(38, 0), are exact in all.
#
# Needs Python 3.11 (PYTHON=PATH for another place).
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.6 pyarrow==23.0.1

cat > "$folder/check.py" <<'PYTHON'
import json
import pathlib
import sys

import duckdb
import pyarrow.parquet as pq

BIG = 2**53 + 1
QUERY = f"""select sum(x) as total, max(x) as largest, {BIG}::hugeint as huge, sum(x)::bigint as cast_total,
    sum(x)::decimal(38, 0) as decimal_total, {BIG}::ubigint as unsigned_id from (select {BIG}::bigint as x)"""
folder = pathlib.Path(sys.argv[1])
for name in ("parquet", "json"):
    duckdb.sql(f"copy ({QUERY}) to '{folder / name}' (format {name})")
table = pq.read_table(folder / "parquet")
types = {field.name: str(field.type) for field in table.schema}
lost = [name for name, values in table.to_pydict().items() if int(values[0]) != BIG]
assert types["total"] == types["huge"] == "double", types
assert (types["largest"], types["unsigned_id"], types["decimal_total"]) == ("int64", "uint64", "decimal128(38, 0)"), types
assert lost == ["total", "huge"], lost
line = json.loads((folder / "json").read_text())
assert all(int(value) == BIG for value in line.values()), line
print("duckdb", duckdb.__version__, "types in Parquet:", types, "rounded:", lost, "in JSON: none")
PYTHON
"$folder/venv/bin/python" "$folder/check.py" "$folder"
