"""Values of configs that are no numbers, or none that anything can be computed with."""

from typing import Annotated

import pydantic
import pytest

from features.frozen import NAMES_DIFFER, NOT_EMPTY, Frozen, Hours, Names, Range


class Settings(Frozen):
    count: int = 1
    rate: float | None = None
    widths: tuple[pydantic.PositiveInt, ...] = ()
    weights: dict[str, float] | float = {}
    window: Hours = 1
    span: Range = (0, 1)
    on: bool = False
    level: bool | int = 0
    word: str = ""


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("count", "24", 24),
        ("count", 24.0, 24),
        ("rate", "1e-3", 0.001),
        ("rate", 0, 0),
        ("rate", 1e-37, 1e-37),
        ("rate", None, None),
        ("widths", ["64", 32], (64, 32)),
        ("weights", {"last": 1, "first": "0.5"}, {"last": 1, "first": 0.5}),
        ("on", True, True),
        ("level", True, True),
        ("word", "true", "true"),
    ],
)
def test_numbers_as_text_are_numbers(key, value, expected):
    assert getattr(Settings(**{key: value}), key) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((key, True, "expected a number, found true") for key in ("count", "rate", "weights", "window")),
        ("rate", False, "expected a number, found false"),
        ("widths", [64, True], "expected a number, found true"),
        ("weights", {"last": False}, "expected a number, found false"),
        ("span", [False, 1], "expected a number, found false"),
        ("count", 10**30, "expected a number below 2"),
        ("count", -(2**63), "expected a number below 2"),
        ("count", 1e300, "integer"),
        ("count", 1.5, "integer"),
        ("count", "1.5", "integer"),
        ("rate", 1e300, "from 1e-37 to 3e38, found 1e"),
        ("rate", -1e-300, "from 1e-37 to 3e38, found -1e-300"),
        ("rate", float("inf"), "finite"),
        ("rate", float("nan"), "finite"),
        ("rate", "24h", "number"),
        ("rate", "", "number"),
        ("window", 1e-300, "from 1/3600"),
        ("window", "1e-3000", "from 1/3600"),
        ("window", "1e-5", "from 1/3600"),
        ("rate", "1e300", "from 1e-37 to 3e38, found 1e[+]300"),
        ("rate", "1e-300", "from 1e-37 to 3e38, found 1e-300"),
        ("count", "1" + "0" * 30, "expected a number below 2"),
        ("weights", {"last": "9e99"}, "found 9e[+]99"),
    ],
)
def test_what_is_no_number_is_an_error_of_its_key(key, value, message):
    with pytest.raises(pydantic.ValidationError, match=message) as caught:
        Settings(**{key: value})
    assert caught.value.errors()[0]["loc"][0] == key


class Block(Frozen):
    name: str


class Lists(Frozen):
    words: Annotated[Names, NOT_EMPTY] = ("a",)
    blocks: Annotated[tuple[Block, ...], NAMES_DIFFER] = ()


def test_a_single_name_is_a_list_of_one():
    assert Lists(words="ab").words == Lists(words=["ab"]).words == ("ab",)
    with pytest.raises(pydantic.ValidationError, match="expected at least one item, found none"):
        Lists(words=[])


def test_blocks_with_the_same_name_are_an_error_of_their_key():
    assert len(Lists(blocks=[{"name": "a"}, {"name": "b"}]).blocks) == 2
    with pytest.raises(pydantic.ValidationError, match="names must differ, found: a, b, a") as caught:
        Lists(blocks=[{"name": name} for name in "aba"])
    assert caught.value.errors()[0]["loc"] == ("blocks",)
