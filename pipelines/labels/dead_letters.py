"""Dead letters: rows that could not be used, with the reason and their place, as JSON Lines."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from pipelines.core import files


def letters(name: str, file: int, path: str, numbers: list[int], reasons: list[str], raw: pd.DataFrame) -> TaggedOutput:
    """One dead-letter element: ((table, file), frame of row, reason and finished JSON line)."""
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
    """Counts one element's reasons by (table, "dead", reason)."""
    return [Counter({(key[0], "dead", reason): int(n) for reason, n in letters["reason"].value_counts().items()})]


class Write:
    """Dead letters of one file of one table, sorted by row, as JSON Lines."""

    def __init__(self, output: str):
        self._output = output

    def __call__(self, key: tuple[str, int], found: Iterable[pd.DataFrame]) -> None:
        """Writes the letters of (table, number of the source file)."""
        whole = pd.concat(list(found)).sort_values(["row", "line"])
        path = FileSystems.join(self._output, "dead_letter", f"{key[0]}-{key[1]:05d}.jsonl")
        files.write_text(path, "".join((whole["line"] + "\n").tolist()))
