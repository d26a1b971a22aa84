import datetime
import decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from benchmarks import compatibility


def cell(folder, kind, values, texts):
    pq.write_table(pa.table({"x": values}), folder / "file.parquet")
    return compatibility.cell(folder / "file.parquet", kind, texts)


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        ("int64", pa.array([2**53 + 1, 12, None], pa.int64()), [str(2**53 + 1), "12"]),
        ("decimal(12, 2)", pa.array([decimal.Decimal("12.00"), decimal.Decimal("0.10"), None]), ["12.00", "0.10"]),
        ("dictionary", pa.array(["a", "12.0", None]).dictionary_encode(), ["a", "12.0"]),
        ("boolean", pa.array([True, False, None]), ["True", "False"]),
        ("date", pa.array([datetime.date(2024, 2, 29), datetime.date(1970, 1, 1), None]), ["2024-02-29", "1970-01-01"]),
    ],
)
def test_values_that_are_read_as_they_are(tmp_path, kind, values, texts):
    assert cell(tmp_path, kind, values, texts) == "exact"


def test_what_is_read_as_something_else_or_refused_is_said(tmp_path):
    rounded = pa.array([float(2**53), 1.0, None])
    assert cell(tmp_path, "int64", rounded, [str(2**53 + 1), "1"]) == "as `null`, `1`, `null`"
    refused = cell(tmp_path, "time", pa.array([datetime.time(1), datetime.time(2), None]), ["01:00:00", "02:00:00"])
    assert refused == "refused: x: expected strings or integers, found time64[us]"


def test_table_has_a_row_per_type_and_a_column_per_writer(tmp_path):
    pa.csv.write_csv(pa.table({"n": [1, 2, 3], "x": ["a", "b", None]}), tmp_path / "file.csv")
    row = {"format": "csv", "type": "text"}
    files = [
        row | {"writer": "one 1.0", "file": "file.csv"},
        row | {"writer": "two 2.0", "file": "none.csv", "reason": "writes no CSV"},
    ]
    made = compatibility.table("csv", {"files": files, "values": {"text": ["a", "b"]}}, tmp_path)
    assert made.columns == ["type", "role", "one 1.0", "two 2.0"]
    assert made.rows == [["text", "id", "exact", "(writes no CSV)"]]
