"""Dead letters, that is rows that could not be used, written as JSON Lines with the reason, the file and the row number."""

import datetime
import json
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from features.arrays import flat
from features.raw_columns import as_text
from pipelines.core import files

Rows: TypeAlias = pa.Table | pa.RecordBatch

#: Years in which pandas has times.
_FIRST, _LAST = datetime.datetime(1678, 1, 1), datetime.datetime(2262, 1, 1)


def letters(name: str, file: int, path: str, numbers: list[int], reasons: list[str], raw: Rows) -> TaggedOutput:
    """Makes an element of the output `dead` from bad rows of a file.

    Args:
        name: name of the table, such as `clicks`.
        file: number of the source file.
        path: path of the source file.
        numbers: row numbers in the file.
        reasons: reason of each row.
        raw: the rows as read.

    Returns:
        ((table, file number), frame with row number, reason and JSON line).
    """
    head = pd.DataFrame({"table": name, "file": path, "file_number": file, "row": numbers, "reason": reasons})
    outer = head.to_json(orient="records", lines=True, force_ascii=False).rstrip("\n").split("\n")
    frame = pa.table({column: _exact(flat(raw[column])) for column in raw.schema.names}).to_pandas(
        integer_object_nulls=True
    )
    inner = (
        frame.astype(object)
        .where(frame.notna(), None)
        .to_json(orient="records", lines=True, force_ascii=False, date_format="iso", default_handler=str)
        .rstrip("\n")
        .split("\n")
    )
    line = pd.Series(outer, dtype=object).str.slice(stop=-1) + ',"record":' + pd.Series(inner, dtype=object) + "}"
    return TaggedOutput("dead", ((name, file), pd.DataFrame({"row": numbers, "reason": reasons, "line": line})))


def _exact(column: pa.Array) -> pa.Array:
    """The column, as text where JSON of pandas would round it or could not hold it."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        whole = pc.equal(column, pc.floor_temporal(column, unit="millisecond"))
        local = pa.timestamp(kind.unit)
        times, first, last = column.cast(local), pa.scalar(_FIRST, local), pa.scalar(_LAST, local)
        fits = pc.and_(pc.greater_equal(times, first), pc.less(times, last))
        return column if pc.all(pc.and_(whole, fits)).as_py() is not False else column.cast(pa.string())
    other = pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind) or isinstance(column, pa.ExtensionArray)
    if other or pa.types.is_uint64(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return as_text(column, "")
    return column


def count_reasons(key: tuple[str, int], letters: pd.DataFrame) -> list[Counter]:
    """Counts the reasons of an element by (table, "dead", reason)."""
    return [Counter({(key[0], "dead", reason): int(n) for reason, n in letters["reason"].value_counts().items()})]


class Write:
    """Writes the dead letters of a source file, sorted by row number, as JSON Lines."""

    def __init__(self, output: str):
        self._output = output

    def __call__(self, key: tuple[str, int], letters: Iterable[pd.DataFrame]) -> None:
        """Writes the letters with key (table, number of the source file)."""
        whole = pd.concat(list(letters)).sort_values(["row", "line"])
        path = FileSystems.join(self._output, "dead_letter", f"{key[0]}-{key[1]:05d}.jsonl")
        files.write_text(path, "".join((whole["line"] + "\n").tolist()))


def first(output: str, name: str) -> str:
    """The first bad row of a table: its file, number and reason; empty if there is none.

    Args:
        output: output directory of the job.
        name: the table.
    """
    paths = [path for path in sorted(files.listing(output)) if path.startswith(f"dead_letter/{name}-")]
    if not paths:
        return ""
    letter = json.loads(files.read_text(FileSystems.join(output, paths[0])).partition("\n")[0])
    return f"{letter['file']}, row {letter['row']:,}: {letter['reason']}"
