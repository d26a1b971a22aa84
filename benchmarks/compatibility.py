"""Reads files of other writers as the label job does: `python -m benchmarks.compatibility --python WRITERS`.

`WRITERS` is the Python of an environment with `benchmarks/peers/requirements-writers.txt`:

    python3.11 -m venv writers && writers/bin/pip install -r benchmarks/peers/requirements-writers.txt

Each file has a column with two values and a null. A cell says how mal-tf reads them in the role that the type suits: `exact`; as
what else; or the words of the refusal. `(…)` are the writer's words where it wrote no file.
"""

import datetime
import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import Annotated

import pyarrow as pa
import typer

from benchmarks import measure, tables
from benchmarks.measure import ROOT
from benchmarks.tables import Table
from features import raw_columns
from features.errors import MalTfError
from features.raw_times import TimeFormat, as_times
from pipelines.labels.sources import reader

#: What a null, or a value that can't be read, is shown as.
NULL = "null"


def identity(column: pa.Array) -> list[str]:
    """Ids, users, match keys and touchpoints."""
    return [NULL if value is None else value for value in raw_columns.as_identity(column, "x")[0].to_pylist()]


def number(column: pa.Array) -> list[str]:
    """Numeric features and values of conversions."""
    return [NULL if value is None else repr(value) for value in raw_columns.as_numbers(column, "x")[0].to_pylist()]


def moment(column: pa.Array) -> list[str]:
    """Times, in nanoseconds since 1970; numbers are milliseconds."""
    times = as_times(column, "x", TimeFormat(1000))
    rows = zip(times.nanoseconds.to_pylist(), times.unreadable.tolist(), strict=True)
    return [NULL if bad or value is None else str(value) for value, bad in rows]


def _nanoseconds(text: str) -> str:
    time = datetime.datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
    since = time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return str((since // datetime.timedelta(microseconds=1)) * 1000)


#: By the begin of a type's name: its role, how it is read, and what its values as text should be read as.
ROLES: dict[str, tuple[str, Callable[[pa.Array], list[str]], Callable[[str], str]]] = {
    "float": ("number", number, lambda text: repr(float(text))),
    "decimal(12": ("number", number, lambda text: repr(float(text))),
    "date": ("time", moment, _nanoseconds),
    "timestamp": ("time", moment, _nanoseconds),
    "boolean": ("id", identity, str.lower),
    "dictionary": ("id", identity, lambda text: text.removesuffix(".0")),
    "": ("id", identity, str),
}


def role(kind: str) -> tuple[str, Callable[[pa.Array], list[str]], Callable[[str], str]]:
    """Return the role of a type."""
    return next(found for begin, found in ROLES.items() if kind.startswith(begin))


def cell(path: pathlib.Path, kind: str, values: list[str]) -> str:
    """Return how a file's column is read."""
    _, read, expected = role(kind)
    try:
        batches = [batch.rows.column("x") for batch in reader.read_file(str(path), ["x"])]
        found = [value for column in batches for value in read(column)]
    except MalTfError as error:
        return f"refused: {str(error).replace(f'{path}', 'FILE').split('. ')[0]}"
    wanted = [*map(expected, values), NULL]
    return "exact" if found == wanted else "as " + ", ".join(f"`{value}`" for value in found)


def table(kind: str, listed: dict, folder: pathlib.Path) -> Table:
    """Build the table of a format: a row for each type, a column for each writer."""
    rows: dict[str, list[str]] = {}
    writers = list(dict.fromkeys(row["writer"] for row in listed["files"] if row["format"] == kind))
    for row in listed["files"]:
        if row["format"] == kind:
            name, where = row["type"], folder / row["file"]
            start = rows.setdefault(name, [name, role(name)[0]])
            start.append(f"({row['reason']})" if "reason" in row else cell(where, name, listed["values"][name]))
    return Table(f"Files in {kind}", ["type", "role", *writers], list(rows.values()), "")


def main(
    python: Annotated[pathlib.Path, typer.Option(help="Python of the environment with the writers.")],
    markdown: Annotated[pathlib.Path | None, typer.Option(help="Also write the tables to this file.")] = None,
) -> None:
    """Read files of other writers."""
    with tempfile.TemporaryDirectory(prefix="mal-tf-writers-") as temporary:
        folder = pathlib.Path(temporary)
        script = str(ROOT / "benchmarks" / "peers" / "writers.py")
        measure.run([str(python), script, temporary], folder / "output.log")
        listed = json.loads((folder / "files.json").read_text(encoding="utf-8"))
        shown = [table(kind, listed, folder) for kind in ("parquet", "csv", "jsonl")]
    tables.report(tables.console(), tables.machine(), shown, markdown)


if __name__ == "__main__":
    tables.run(main)
