"""Tables in memory: data frames and Arrow tables, with checks of their columns."""

from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa

from features.errors import BadInput


def arrow_table(rows: pd.DataFrame | pa.Table, columns: Sequence[str] = (), name: str = "clicks") -> pa.Table:
    """Converts a table in memory to an Arrow table.

    Args:
        rows: the table.
        columns: names of columns that it must have.
        name: what the table is, for messages.

    Raises:
        BadInput: it is not a table, a column is missing, occurs more than once, or has values of several types.
    """
    if not isinstance(rows, pd.DataFrame | pa.Table):
        raise BadInput(f"{name}: expected a pandas data frame or an Arrow table, found {type(rows).__name__}")
    found = _names(rows)
    if repeated := [column for column in found if found.count(column) > 1]:
        raise BadInput(f"{name}: column '{repeated[0]}' occurs more than once. Rename or remove all but one of them.")
    if missing := [column for column in columns if column not in found]:
        raise BadInput(f"{name}: column '{missing[0]}' is missing; found columns: {', '.join(found)}")
    if isinstance(rows, pa.Table):
        return rows
    try:
        return pa.Table.from_pandas(rows, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:  # Which of them, depends on the value and on pyarrow.
        raise BadInput(f"{name}: expected values of one type in a column; {' '.join(map(str, error.args))}") from error


def typed_columns(rows: pd.DataFrame | pa.Table, types: Mapping[str, pa.DataType], name: str = "clicks") -> pa.Table:
    """Selects columns and converts them to the given types. A column without any value fits every type.

    Args:
        rows: the table.
        types: Arrow type by column.
        name: what the table is, for messages.

    Raises:
        BadInput: a column is missing, or has values that its type can't represent.
    """
    table = arrow_table(rows, list(types), name)
    columns = [_typed(table[column], kind, f"{name}: column '{column}'") for column, kind in types.items()]
    return pa.table(columns, pa.schema(list(types.items())))


def _names(rows: pd.DataFrame | pa.Table) -> list[str]:
    return list(map(str, rows.columns)) if isinstance(rows, pd.DataFrame) else rows.column_names


def _typed(column: pa.ChunkedArray, kind: pa.DataType, where: str) -> pa.ChunkedArray:
    expected, found = (t.value_type if pa.types.is_list(t) else t for t in (kind, column.type))
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    problem = "1.0 and 1 would be different tokens"
    try:
        if not (pa.types.is_string(expected) and pa.types.is_floating(found)):
            return column.cast(kind, safe=not pa.types.is_floating(expected))  # Doubles may be rounded to floats.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        problem = str(error).splitlines()[0]
    raise BadInput(f"{where}: expected {kind}, found {column.type} ({problem}); convert the column")
