"""Building blocks of configurations: an immutable pydantic base class that rejects unknown keys, and types of values."""

import datetime
import difflib
import itertools
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic


class Frozen(pydantic.BaseModel):
    """Immutable configuration block. Unknown keys are errors; the message names the nearest key."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, data):
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    nearest = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.5)
                    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known keys: {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown key '{key}'; {hint}")
        return data

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value, info: pydantic.ValidationInfo):
        if cls._is_numeric(info) and (found := [item for item in _scalars(value) if isinstance(item, bool)]):
            raise ValueError(f"expected a number, found {str(found[0]).lower()}")
        return value

    @pydantic.field_validator("*", mode="after")
    @classmethod
    def _check_sizes(cls, value, info: pydantic.ValidationInfo):
        for item in _scalars(value) if cls._is_numeric(info) else ():
            if isinstance(item, int | float):
                _check_size(item)
        return value

    @classmethod
    def _is_numeric(cls, info: pydantic.ValidationInfo) -> bool:
        types = _types_in(cls.model_fields[str(info.field_name)].annotation)
        return (int in types or float in types) and bool not in types


def _types_in(annotation: Any) -> list[Any]:
    """An annotation and all that it is made from, such as the members of a union."""
    return [annotation, *itertools.chain.from_iterable(map(_types_in, typing.get_args(annotation)))]


def _scalars(value: Any) -> Iterator[Any]:
    """The items of nested lists and mappings; a single value itself."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _scalars(item)
    else:
        yield value


def _check_size(value: int | float) -> None:
    """Refuses integers of more than 64 bits, and fractions that are 0 or infinite in the 32 bits of networks."""
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"expected a number below 2^63, found {value}")
    if value and not 1e-37 <= abs(value) <= 3e38:
        raise ValueError(f"expected 0 or a number whose size is from 1e-37 to 3e38, found {value}")


def _resolved(path: str, info: pydantic.ValidationInfo) -> str:
    resolve = (info.context or {}).get(RESOLVE)
    return resolve(path) if resolve else path


#: Key of the validation context that holds a function which makes paths absolute, for configs read from a file.
RESOLVE = "resolve"

#: A path or glob, relative to the folder of the config file that contains it.
Path = Annotated[str, pydantic.AfterValidator(_resolved)]

#: A name that can be a directory's.
Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def _dated(example: str) -> pydantic.BeforeValidator:
    """Validator that refuses bare numbers, which would be seconds since 1970: 20240108 is a day of that year then."""

    def check(value: Any) -> Any:
        try:
            number = None if isinstance(value, bool) else float(value)
        except (ValueError, TypeError, OverflowError):
            number = None
        if number is not None:
            raise ValueError(f"expected {example}, found the bare number {value}")
        return value

    return pydantic.BeforeValidator(check)


#: A time such as 2024-01-08T00:00:00+00:00, and a day such as 2024-01-08.
Moment = Annotated[datetime.datetime, _dated("a time such as 2024-01-08T00:00:00+00:00")]
Day = Annotated[datetime.date, _dated("a day such as 2024-01-08")]

#: Days as a list, or a single one.
Days = Annotated[
    tuple[Day, ...], pydantic.BeforeValidator(lambda days: days if isinstance(days, list | tuple) else (days,))
]


def _of_hours(hours: float) -> float:
    if not 1 / 3600 <= hours <= 2_000_000:
        raise ValueError(f"expected hours, from 1/3600 (a second) to 2,000,000; found {hours:g}")
    return hours


#: A length of time in hours that is neither less than any time unit nor more than 64 bits of nanoseconds hold.
Hours = Annotated[float, pydantic.AfterValidator(_of_hours)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


#: Validator of a list of texts that takes a single one too.
AS_TUPLE = pydantic.BeforeValidator(_as_tuple)

#: Names as a list, or a single one.
Names = Annotated[tuple[str, ...], AS_TUPLE]


def _not_empty(values: tuple) -> tuple:
    if not values:
        raise ValueError("expected at least one item, found none")
    return values


#: Validator of a list with at least one item. Where items are invalid, pydantic's `min_length` would not count them and add a
#: message of its own to theirs.
NOT_EMPTY = pydantic.AfterValidator(_not_empty)


def _names_differ(blocks: tuple) -> tuple:
    names = [block.name for block in blocks]
    if len(set(names)) < len(names):
        raise ValueError(f"names must differ, found: {', '.join(names)}")
    return blocks


#: Validator of a list of blocks with a `name` each: no two have the same.
NAMES_DIFFER = pydantic.AfterValidator(_names_differ)


def _in_order(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] >= pair[1]:
        raise ValueError(f"expected the smallest, then the largest, found {pair[0]:g}, {pair[1]:g}")
    return pair


#: The smallest and the largest accepted value, both at least 0.
Range = Annotated[tuple[pydantic.NonNegativeFloat, pydantic.NonNegativeFloat], pydantic.AfterValidator(_in_order)]
