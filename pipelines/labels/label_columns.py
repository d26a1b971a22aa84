"""Names, types and meanings of the columns of labelled clicks, as listed in the manifest of the label job."""

from collections.abc import Sequence

import pyarrow as pa

from features.feature import ARROW_TYPE
from features.spec import RESERVED, RESERVED_PREFIXES, FeatureSpec

STRING, INT64, FLOAT32 = "string", "int64", "float32"

#: A column of the label files, with its `name`, `type` (a dtype, or `list of` a dtype) and `meaning`.
Column = dict[str, str]


def click_id(dtype: str) -> Column:
    """Returns the column of click ids, whose type, `string` or `int64`, is that of the click log."""
    return {"name": "click_id", "type": dtype, "meaning": "identifies the click among those of its user"}


def others(
    spec: FeatureSpec, mechanisms: Sequence[str], valued: bool = False, context: Sequence[str] = ()
) -> list[Column]:
    """Returns all columns except the click ids.

    Args:
        spec: features.
        mechanisms: names of mechanisms, in configured order.
        valued: whether conversions have a value, which adds the columns `valued_credit_<mechanism>`.
        context: names of the kinds of context touch, which are part of a path.
    """
    touches = " and ".join(("clicks", *(f"{name} touches" for name in context)))
    columns = [
        ("user_id", STRING, "who clicked"),
        ("timestamp", INT64, "when, since 1970 in `sources.time_unit`; of ready-made labels, the place in their order"),
        ("path_length", INT64, f"{touches} of the longest converting journey that the click is in; 0 if it is in none"),
        ("mature", INT64, "1 if the windows of all mechanisms had closed when the click was labelled, else 0"),
        *((f"label_{name}", FLOAT32, f"credit under mechanism {name}, at most 1") for name in mechanisms),
        *(
            (f"credit_{name}", FLOAT32, f"credit under mechanism {name}, summed over conversions")
            for name in mechanisms
        ),
    ]
    if valued:
        meaning = "credit under mechanism {} times the conversion's value, summed over conversions"
        columns += [(f"valued_credit_{name}", FLOAT32, meaning.format(name)) for name in mechanisms]
    columns.append(("label_cat", INT64, f"CAT class: sum of 2^i over the positive labels of {', '.join(mechanisms)}"))
    for feature in spec.features:
        dtype = spec.dtype(feature)
        kind = f"list of {dtype}" if feature.sequence else dtype
        columns.append((feature.name, kind, f"{feature.type} feature"))
    return [dict(zip(("name", "type", "meaning"), column, strict=True)) for column in columns]


def schema(columns: Sequence[Column]) -> pa.Schema:
    """Returns the Arrow schema of columns."""
    fields = []
    for column in columns:
        dtype = ARROW_TYPE[column["type"].removeprefix("list of ")]
        fields.append((column["name"], pa.list_(dtype) if column["type"].startswith("list of ") else dtype))
    return pa.schema(fields)


def may_be_missing(name: str) -> bool:
    """Whether a column may have missing values, which only features may."""
    return name not in RESERVED and not name.startswith(RESERVED_PREFIXES)
