"""Each line of a CSV file is part of a row or is reported, whatever its quotes and wherever blocks end."""

import csv
import gc
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.labels.sources import csv_rows

TEXT = st.text(st.sampled_from('ab ",\né'), max_size=6)
LINES = [f"c{i},u{i % 7},{1_700_000_000 + i},p{i % 3}" for i in range(40)]


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """With Python 3.10, pyarrow 10 looks at every object that the collector tracks, whenever it reads a block."""
    gc.freeze()
    yield
    gc.unfreeze()


def read(data, names="abc", block=1 << 20):
    """(number, values) of the good rows, and the malformed ones."""
    rows, malformed = [], []
    for found in csv_rows.read(io.BytesIO(data), csv_rows.CsvTable(list(names), list(names)), block):
        values = [tuple(row.values()) for row in found.rows.to_pylist()]
        rows += zip(found.numbers.tolist(), values, strict=True)
        malformed += found.malformed
    return rows, malformed


@given(st.lists(st.lists(TEXT, min_size=5, max_size=5), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_what_csv_writes_is_read_and_none_is_lost(rows, quote_all, windows):
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator="\r\n" if windows else "\n", quoting=quoting).writerows(rows)
    data = out.getvalue().encode()
    found, malformed = read(data, "abcde")
    assert (found, malformed) == read(data, "abcde", 1) == read(data, "abcde", 7)
    if not malformed:  # Text of as many commas as the table looks like rows.
        assert [values for _, values in found] == [tuple(value or None for value in row) for row in rows]


@pytest.mark.parametrize("quote_all", [False, True])
@given(st.dictionaries(st.integers(0, 39), st.integers(0, 25), min_size=1, max_size=4))
def test_stray_quotes_take_away_no_other_row(quote_all, strays):
    lines = [",".join(f'"{v}"' for v in line.split(",")) if quote_all else line for line in LINES]
    for line, place in strays.items():
        lines[line] = f'{lines[line][:place]}"{lines[line][place:]}'
    data = "\n".join(lines).encode()
    found, malformed = read(data, "abcd")
    assert (found, malformed) == read(data, "abcd", 1) == read(data, "abcd", 50)
    assert len(found) + len(malformed) == len(lines)
    expected = {i + 1: tuple(LINES[i].split(",")) for i in range(40) if i not in strays}
    assert {number: row for number, row in found if number - 1 not in strays} == expected


@pytest.mark.parametrize(
    ("data", "rows", "reasons"),
    [
        (b"1,2,3,\n4,5,6,\n", [], {1: "expected 3, found 4", 2: "expected 3, found 4"}),
        (b"1,2,3\n4,5,6,\n", [(1, ("1", "2", "3"))], {2: "expected 3, found 4"}),
        (b'1,2,"3\n4,5,6\n', [(2, ("4", "5", "6"))], {1: "a quote is not closed"}),
        (b'1,2,"x\n4,5,6\n7,8,x"\n', [(2, ("4", "5", "6")), (3, ("7", "8", 'x"'))], {1: "a quote is not closed"}),
        (b'1,"one\r\ntwo",3\r\n4,5,6', [(1, ("1", "one\r\ntwo", "3")), (2, ("4", "5", "6"))], {}),
        (b'1,"a\n\nb""c\n",3\n\n4,5,6"\n', [(1, ("1", 'a\n\nb"c\n', "3")), (2, ("4", "5", '6"'))], {}),
        (b"1,2,\xff\n4,5,6\n", [(2, ("4", "5", "6"))], {1: "column 'c' is not UTF-8"}),
        (b"1,2,3\r4,5,6\r\r", [(1, ("1", "2", "3")), (2, ("4", "5", "6"))], {}),
        (b"\n\n", [], {}),
        (b"", [], {}),
    ],
)
def test_rows_and_reasons(data, rows, reasons):
    found, malformed = read(data)
    assert (found, malformed) == read(data, block=1)
    assert found == rows
    assert [number for number, _, _ in malformed] == list(reasons)
    assert all(reasons[number] in reason for number, reason, _ in malformed)


def test_a_value_of_too_many_lines_is_no_value():
    data = b'1,2,"' + b"x\n" * 1_500 + b'"\n4,5,6\n'
    found, malformed = read(data)
    assert found == [(1502, ("4", "5", "6"))]
    assert malformed[0][:2] == (1, "a quote is not closed, neither in its line nor properly in the next 1,000")
    assert read(data[: 5 + 900] + b'"\n4,5,6\n')[1] == []


def test_optional_cells_that_are_not_utf8_are_null():
    data = "ä,1,x\n2,ö,ü\né,\n4,ß,5\n6,7,8\n".encode("latin-1").replace(b"\xfc", "ü".encode())
    table = csv_rows.CsvTable(list("abc"), list("abc"), optional="bc")
    (found,) = csv_rows.read(io.BytesIO(data), table, 1 << 20)
    assert found.rows.to_pydict() == {"a": ["2", "4", "6"], "b": [None, None, "7"], "c": ["ü", "5", "8"]}
    assert found.numbers.tolist() == [2, 4, 5]
    assert {cell: mask.tolist() for cell, mask in found.unusable.items()} == {("b", "not UTF-8"): [True, True, False]}
    assert [(row, reason) for row, reason, _ in found.malformed] == [
        (1, "column 'a' is not UTF-8"),
        (3, "wrong columns: expected 3, found 2"),
    ]


def test_quoted_cells_that_are_not_utf8_may_span_lines():
    data = '1,"ö\n""ä""",x\n2,"é",y\n3,"ü,z\n4,a,b\n5,"q\n",\n'.encode("latin-1")
    (found,) = csv_rows.read(io.BytesIO(data), csv_rows.CsvTable(list("abc"), list("abc"), optional="b"), 1 << 20)
    assert found.rows.to_pydict() == {
        "a": ["1", "2", "4", "5"],
        "b": [None, None, "a", "q\n"],
        "c": ["x", "y", "b", None],
    }
    assert [row for row, _, _ in found.malformed] == [3]
