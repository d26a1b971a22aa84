"""Dead letters, that is rows that could not be used, written as JSON Lines with the reason, the file and the row number."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from pipelines.core import files


def letters(name: str, file: int, path: str, numbers: list[int], reasons: list[str], raw: pd.DataFrame) -> TaggedOutput:
    """Makes an element of the output `dead` from bad rows of a file.

    Args:
        name: table, `clicks` or `conversions`.
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
    inner = (
        raw.astype(object)
        .where(raw.notna(), None)
        .to_json(orient="records", lines=True, force_ascii=False, date_format="iso", default_handler=str)
        .rstrip("\n")
        .split("\n")
    )
    line = pd.Series(outer, dtype=object).str.slice(stop=-1) + ',"record":' + pd.Series(inner, dtype=object) + "}"
    return TaggedOutput("dead", ((name, file), pd.DataFrame({"row": numbers, "reason": reasons, "line": line})))


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
