"""Config text by people: what YAML libraries take in silence, or never come back from, is an error with its place."""

import time
import tracemalloc

import pytest

from features.errors import MalTfError
from pipelines.core.yaml_text import read


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a:\n  b: 1\n  b: 1\n", 3),
        ("- {x: 1, 'x': 2}\n", 1),
        ('- {window: 1, "window": 2}\n', 1),
        ("{&k a: 1, *k : 2}\n", 1),
        ("p: &p {k: 1}\nq:\n  <<: *p\n  <<: *p\n", 4),
        ("a: [{b: {c: 1, d: 2,\n c: 3}}]\n", 2),
    ],
)
def test_a_key_given_twice_is_named_with_both_places(text, line):
    with pytest.raises(
        MalTfError, match=rf"c\.yaml: not valid YAML: key .* is given twice, first in line \d[\S\s]*line {line},"
    ):
        read(text, "c.yaml")


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "&r\nx: *r", "a: &a {b: {c: [1, *a]}}", "a: &a\n  <<: *a\n", "? &k [*k]\n: 1\n"]
)
def test_an_anchor_within_itself_is_an_error(text):
    with pytest.raises(MalTfError, match="an anchor contains an alias of itself"):
        read(text, "c.yaml")


@pytest.mark.parametrize("item", ["[{}]", "{{{}}}", "merge"])
def test_anchors_that_expand_beyond_bounds_are_refused_at_once(item):
    lines = ["x0: &x0 {k: 1}" if item != "[{}]" else "x0: &x0 [1]"]
    for n in range(1, 30):
        ten = [f"*x{n - 1}"] * 10
        inner = {
            "[{}]": f"[{', '.join(ten)}]",
            "{{{}}}": "{" + ", ".join(f"k{i}: {alias}" for i, alias in enumerate(ten)) + "}",
            "merge": f"{{<<: [{', '.join(ten)}]}}",
        }[item]
        lines.append(f"x{n}: &x{n} {inner}")
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(MalTfError, match="aliases written out it has more than 100,000 values"):
        read("\n".join(lines), "c.yaml")
    assert time.monotonic() - began < 5 and tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_anchors_are_copies_that_can_be_changed_apart():
    found = read("a: &a {k: [1]}\nb: *a\nc: {<<: *a, m: 2}\n", "c.yaml")
    found["a"]["k"].append(2)
    assert found == {"a": {"k": [1, 2]}, "b": {"k": [1]}, "c": {"k": [1], "m": 2}}


@pytest.mark.parametrize(
    "text", ["a: 2024-13-05", "a: 2024-02-30T00:00:00Z", f"a: {'9' * 5000}", "[" * 3000, "a: [", "a: !x y"]
)
def test_what_is_no_value_is_an_error_of_the_text(text):
    with pytest.raises(MalTfError, match=r"c\.yaml: not valid YAML"):
        read(text, "c.yaml")


def test_numbers_are_as_in_yaml_1_2():
    values = read("[12:30, 0123, 12, -3, 1_000, 1.5, .inf, 0x10, yes, true, 1.5e+3]", "c.yaml")
    assert values == ["12:30", "0123", 12, -3, 1000, 1.5, float("inf"), 16, "yes", True, 1500.0]
    assert read("", "c.yaml") is None
