"""A cell for which Arrow refuses a conversion is named by file, row, column and value."""

import numpy as np
import pyarrow as pa
import pytest

from features import table
from features.errors import BadInput
from pipelines.labels.sources import unconvertible

ROWS = pa.RecordBatch.from_pydict({"a": [str(i) for i in range(1000)], "b": ["1"] * 1000})
NUMBERS = np.arange(2001, 3001)


def numbers(rows):
    return [column.cast(pa.int64()) for column in rows.columns]


def message(rows):
    with pytest.raises(pa.ArrowInvalid) as raised:
        numbers(rows)
    return str(unconvertible.error(numbers, rows, NUMBERS, "log.csv", raised.value))


@pytest.mark.parametrize("place", [0, 1, 499, 998, 999])
def test_the_cell_is_named(place):
    values = ROWS["a"].to_pylist()
    values[place] = "1_0"
    rows = pa.RecordBatch.from_arrays([ROWS["b"], pa.array(values)], ["b", "a"])
    assert message(rows).startswith(
        f"log.csv, row {NUMBERS[place]:,}: column 'a': the value '1_0' can't be converted: "
    )


def test_of_two_cells_the_row_is_named():
    rows = pa.RecordBatch.from_pydict({"a": ["1", "x"], "b": ["1", "y"]})
    assert message(rows).startswith("log.csv, row 2,002: Failed to parse")


def test_the_label_job_names_it(project, monkeypatch):
    def numbers(column, where):
        return column.cast(pa.string()).cast(pa.float64()), np.zeros(len(column), bool)

    price = pa.array(["1_0" if i == 300 else "1" for i in range(project.clicks.num_rows)])
    project.clicks = project.clicks.set_column(6, "price", price)
    project.write()
    monkeypatch.setattr(table, "as_numbers", numbers)
    with pytest.raises(BadInput, match=r"clicks.parquet, row 301: column 'price': the value '1_0' can't be converted"):
        project.labels()
