"""Names the cell for which Arrow refuses a conversion of whole columns."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from features.errors import BadInput


def error(
    convert: Callable[[pa.RecordBatch], object], rows: pa.RecordBatch, numbers: np.ndarray, path: str, cause: Exception
) -> BadInput:
    """Finds the first row that can't be converted, and its column.

    Args:
        convert: the conversion, which raised `cause` for these rows.
        rows: raw columns.
        numbers: number of each row in the file.
        path: the file, for the message.
        cause: what Arrow says.
    """

    def fails(part: pa.RecordBatch) -> bool:
        try:
            convert(part)
        except pa.ArrowException:
            return True
        return False

    begin, size = 0, rows.num_rows
    while size > 1:
        half = size // 2
        begin, size = (begin, half) if fails(rows.slice(begin, half)) else (begin + half, size - half)
    row = rows.slice(begin, size)
    if not fails(row):  # The rows can't be converted together.
        return BadInput(f"{path}, rows {numbers[0]:,} to {numbers[-1]:,}: {cause}. Correct the values.")
    for place, name in enumerate(row.schema.names):
        nulls = [pa.nulls(len(c), c.type) if i == place else c for i, c in enumerate(row.columns)]
        if not fails(pa.RecordBatch.from_arrays(nulls, row.schema.names)):
            value = row.columns[place][0].as_py()
            return BadInput(
                f"{path}, row {numbers[begin]:,}: column '{name}': the value {value!r} can't be converted: {cause}. Correct it."
            )
    return BadInput(f"{path}, row {numbers[begin]:,}: {cause}. Correct the row.")
