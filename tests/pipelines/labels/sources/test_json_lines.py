"""Every line means the same whatever the lines beside it hold."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.labels.sources.json_lines import Parser

COLUMNS = ["id", "user", "s"]
TEXTS = ["2024-01-01", "2024-01-01T00:00:00Z", "a|b", '"q\\', "é😀", "\n", "1", ""]
NAMES = st.sampled_from([*COLUMNS, "x", "ev"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.sampled_from(TEXTS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2))
OBJECTS = st.dictionaries(NAMES, VALUES)
EXPLODED = st.dictionaries(st.just("ev"), st.lists(OBJECTS, max_size=3), min_size=1)
ODD = [
    b'{"id": 01}',
    b'{"id": -0}',
    b'{"id": tru}',
    b'{"id": 1}{"id": 2}',
    b'{"id": "x}',
    b"{12: 3}",
    b'{"x": 1, 12 : 3}',
    b'{"id": +5}',
    b"[1]",
    b"null",
    b'{"id": 1} null',
    b'{"id": "\xff"}',
    b'{"id": "\\ud800"}',
    b'{"id": "\\udc00"}',
    b'{"id": NaN, "s": [Infinity]}',
    b'{"id": 1.0e5, "s": "a|b"}',
    b'{"id":1,"id":2}',
    b'{"id":"a\tb"}',
    b'{"i\\u0064": 5}',
]
LINES = st.builds(
    lambda line, ascii_: json.dumps(line, ensure_ascii=ascii_).encode(), OBJECTS | EXPLODED, st.booleans()
)


def _rows(parser, lines):
    """Rows with the places of their lines, lists of `s` as lists of text, and the places of the malformed lines."""
    parsed = parser.parse(lines)
    rows = parsed.rows.to_pylist()
    for row in rows:
        values = row["s"].split("|") if isinstance(row["s"], str) and row["s"] else row["s"] or None
        row["s"] = values and [None if one is None else str(one).lower() for one in values]
    return list(zip(parsed.index.tolist(), rows, strict=True)), [place for place, _ in parsed.malformed]


@settings(deadline=None, max_examples=150)
@given(st.lists(LINES | st.sampled_from(ODD), min_size=1, max_size=6), st.sampled_from([None, "ev"]))
def test_lines_together_are_the_lines_alone(lines, explode):
    together, malformed = _rows(Parser(COLUMNS, ["s"], explode=explode), lines)
    alone = [_rows(Parser(COLUMNS, ["s"], explode=explode), [line]) for line in lines]
    assert together == [(place, row) for place, (rows, _) in enumerate(alone) for _, row in rows]
    assert sorted(malformed) == [place for place, (_, bad) in enumerate(alone) for _ in bad]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12", "12"),
        ("-0", "0"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551615", "18446744073709551615"),
        ("12.50", "12.50"),
        ("true", "true"),
        ('"12"', "12"),
        ("null", None),
    ],
)
@pytest.mark.parametrize("beside", ["1", "0.5", "null", '"x"', "18446744073709551615", '["x"]', "{}"])
def test_text_of_values(value, text, beside):
    parsed = Parser(["id"]).parse([b'{"id": %s}' % value.encode(), b'{"id": %s}' % beside.encode()])
    assert parsed.rows["id"][0].as_py() == text


@pytest.mark.parametrize("beside", ["null", "[]", '["x", null]', '"0.5|1"', "[[1]]", "3"])
def test_lists_may_lack_values_or_be_text(beside):
    lines = [b'{"s": [null, 0.5, 12345678901234567890]}', b'{"s": %s}' % beside.encode()]
    parsed = Parser(["s"], lists=["s"]).parse(lines)
    assert parsed.rows["s"][0].as_py() == [None, "0.5", "12345678901234567890"]
    assert len(parsed.malformed) == (beside == "[[1]]")


def test_what_is_no_value_of_a_column_is_named():
    parsed = Parser(["id", "s"], lists=["s"]).parse([b'{"id": [1]}', b'{"s": {}}', b'{"s": [{}]}', b"7"])
    assert parsed.malformed == [
        (0, "field 'id': expected one value, found a list"),
        (1, "field 's': expected a list, found an object"),
        (2, "field 's': expected a list of single values, found one of an object"),
        (3, "not a JSON object but a single value"),
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (b"[1]", "expected one value, found a list"),
        (b"{}", "expected one value, found an object"),
        (b'"\xe9"', "not UTF-8"),
        (b'"\\ud800"', "not UTF-8"),
        (b'1, "s": 1', "expected one value, found more than one of the name"),
    ],
)
def test_an_optional_cell_that_is_no_value_is_null_and_the_row_stays(cell, reason):
    lines = [b'{"id": 1, "s": "x"}', b'{"id": 2, "s": %s}' % cell, b'{"id": {}, "s": []}', b'{"id": 3, "x": 1, "x": 2}']
    parsed = Parser(["id", "s"], optional=["s"]).parse(lines)
    assert parsed.rows.to_pydict() == {"id": ["1", "2", "3"], "s": ["x", None, None]}
    assert {name: mask.tolist() for name, mask in parsed.unusable.items()} == {("s", reason): [False, True, False]}
    assert parsed.malformed == [(2, "field 'id': expected one value, found an object")]
    assert Parser(["s"]).parse(lines[1:2]).malformed == [(0, f"field 's': {reason}")]


def test_optional_lists_and_fields_of_objects():
    lines = [
        b'{"l": {}, "o": 5}',
        b'{"l": [[1]], "o": {"a": []}}',
        b'{"l": 5, "o": {"a": 1}}',
        b'{"l": null, "o": null}',
    ]
    parsed = Parser(["l", "o.a"], ["l"], optional=["l", "o.a"]).parse(lines)
    assert parsed.rows.to_pydict() == {"l": [None, None, ["5"], None], "o.a": [None, None, "1", None]}
    assert {name: mask.tolist() for name, mask in parsed.unusable.items()} == {
        ("l", "expected a list, found an object"): [True, False, False, False],
        ("l", "expected a list of single values, found one of a list"): [False, True, False, False],
        ("o.a", "expected an object, found a single value"): [True, False, False, False],
        ("o.a", "expected one value, found a list"): [False, True, False, False],
    }


@pytest.mark.parametrize("element", [b"5", b'"x"', b"[]", b'{"id": {}}'])
def test_each_element_of_a_list_counts_for_itself(element):
    lines = [b'{"user": "u", "ev": [{"id": 1}, %s, null, {"id": 2}]}' % element, b'{"user": "v", "ev": [{"id": 3}]}']
    parsed = Parser(["id", "user"], explode="ev").parse(lines)
    assert parsed.rows.to_pydict() == {"id": ["1", None, "2", "3"], "user": ["u", "u", "u", "v"]}
    assert (parsed.index.tolist(), [place for place, _ in parsed.malformed], parsed.empty) == ([0, 0, 0, 1], [0], 0)


def test_each_single_value_of_a_list_counts_for_itself():
    lines = [b'{"user": "u", "tags": ["a", {}, null, 5]}', b'{"tags": [[]]}', b'{"tags": []}']
    parsed = Parser(["tags", "user"], explode="tags").parse(lines)
    assert parsed.rows["tags"].to_pylist() == ["a", None, "5"]
    assert ([place for place, _ in parsed.malformed], parsed.empty) == ([0, 1], 1)
    assert Parser(["tags"], explode="tags", optional=["tags"]).parse(lines).rows["tags"].to_pylist() == [
        "a",
        *[None] * 2,
        "5",
        None,
    ]


def test_fields_of_objects_go_before_those_of_their_line():
    lines = [b'{"user": "u", "id": 9, "ev": [{"id": 1}, {"id": null, "user": "v"}, null]}', b'{"user": "w"}']
    parsed = Parser(["id", "user"], explode="ev").parse(lines)
    assert parsed.rows.to_pydict() == {"id": ["1", "9", "9"], "user": ["u", "v", "u"]}
    assert (parsed.malformed, parsed.empty) == ([], 1)
