"""A look at a few files before the job: of a large log that can't be read as configured, no bad rows need be shuffled."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from features.errors import BadInput
from pipelines.labels.read_logs import Read
from pipelines.labels.sources.formats import DataFile, Piece
from pipelines.labels.sources.reader import pieces
from pipelines.labels.sources.tables import TableSource

#: Bytes of a table from which on the look is worth its time.
_WORTH = 64 << 20

#: Share of bad rows among the first of a file that counts as nearly all, and how few and how many rows say so.
_NEARLY_ALL, _ENOUGH, _MOST = 0.9, 1000, 300_000

#: `labels.max_bad_share` from which on bad rows are expected, and those of a sorted log may be at the start of each file.
_EXPECTED = 0.1


def check(read: Read, source: TableSource, found: Sequence[DataFile], max_bad_share: float) -> None:
    """Checks that the first rows of the first, the middle or the last file of a table are not nearly all bad.

    Of a file with parts, those of the last part have to be bad, too, as logs may be sorted, with nulls first.

    Args:
        read: the step that reads the table.
        source: the table.
        found: its files.
        max_bad_share: see `pipelines.config.labels.LabelsConfig`.

    Raises:
        BadInput: they are, in each of these files.
    """
    if max_bad_share >= _EXPECTED or sum(file.size for file in found) < _WORTH:
        return
    read.setup()
    said = ""
    for file in dict.fromkeys(found[number] for number in (0, len(found) // 2, -1)):
        of_file = pieces(file, source)
        for piece in dict.fromkeys([*of_file[:1], *of_file[-1:]]):
            rows, reasons = _first_rows(read, source.table, piece)
            bad = sum(reasons.values())
            if bad < _NEARLY_ALL * max(rows, _ENOUGH):
                return
            said = said or f"{bad:,} of the first {rows:,} rows of {file.path} are bad: {reasons.most_common(1)[0][0]}"
    raise BadInput(
        f"{source.table}: {said}. So are those of the middle and the last file, if there are more. Correct `sources`, such as "
        f"its time_unit, or set labels.max_bad_share to {_EXPECTED:g} or more to label the others"
    )


def _first_rows(read: Read, table: str, piece: Piece) -> tuple[int, Counter]:
    """Number of rows in the first batches of a piece, up to one with good rows, and, of the bad ones, by reason."""
    rows, reasons = 0, Counter[str]()
    for output in read.refined(piece):
        if isinstance(output, pa.Table):
            if rows >= _MOST or sum(reasons.values()) < _NEARLY_ALL * rows:
                break
        elif output.tag == "dead":
            reasons.update(output.value[1]["reason"])
        elif output.tag == "counts":
            of = output.value
            rows += of[table, "read"] - of[table, "filtered"] - of[table, "empty_lists"]
    return rows, reasons
