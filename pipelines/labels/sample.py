"""A look at a few files before the job: of a large log that can't be read as configured, no bad rows need be shuffled."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from features.errors import BadInput
from pipelines.labels.read_logs import Read
from pipelines.labels.sources.formats import DataFile
from pipelines.labels.sources.reader import pieces
from pipelines.labels.sources.tables import TableSource

#: Bytes of a table from which on the look is worth its time.
_WORTH = 64 << 20

#: Share of bad rows among the first of a file that counts as nearly all, and how many rows say so.
_NEARLY_ALL, _ENOUGH = 0.9, 1000

#: `labels.max_bad_share` from which on a job with nearly only bad rows may be what is wanted.
_HALF = 0.5


def check(read: Read, source: TableSource, found: Sequence[DataFile], max_bad_share: float) -> None:
    """Checks that the first rows of the first, the middle or the last file of a table are not nearly all bad.

    Args:
        read: the step that reads the table.
        source: the table.
        found: its files.
        max_bad_share: see `pipelines.config.labels.LabelsConfig`.

    Raises:
        BadInput: they are, in each of these files.
    """
    if max_bad_share >= _HALF or sum(file.size for file in found) < _WORTH:
        return
    read.setup()
    said = ""
    for file in dict.fromkeys(found[number] for number in (0, len(found) // 2, -1)):
        rows, reasons = _first_rows(read, source, file)
        bad = sum(reasons.values())
        if bad < _NEARLY_ALL * max(rows, _ENOUGH):
            return
        said = said or f"{bad:,} of the first {rows:,} rows of {file.path} are bad: {reasons.most_common(1)[0][0]}"
    raise BadInput(
        f"{source.table}: {said}. So are those of the middle and the last file, if there are more. Correct `sources`, such as "
        f"its time_unit, or set labels.max_bad_share to {_HALF:g} or more to label the others"
    )


def _first_rows(read: Read, source: TableSource, file: DataFile) -> tuple[int, Counter]:
    """Number of rows in the first batch of a file and, of the bad ones, by reason."""
    table, rows, reasons = source.table, 0, Counter[str]()
    for piece in pieces(file, source)[:1]:
        for output in read.refined(piece):
            if isinstance(output, pa.Table):
                break
            if output.tag == "dead":
                reasons.update(output.value[1]["reason"])
            elif output.tag == "counts":
                rows += (
                    output.value[table, "read"] - output.value[table, "filtered"] - output.value[table, "empty_lists"]
                )
    return rows, reasons
