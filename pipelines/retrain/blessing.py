"""Whether a candidate may serve, and why not: `BLESSED` or `NOT_BLESSED`, and `reason.json`."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from features.errors import MalTfError
from pipelines.core import files

BLESSED, NOT_BLESSED, REASON = "BLESSED", "NOT_BLESSED", "reason.json"


@dataclasses.dataclass(frozen=True)
class Blessing:
    """What was said about a candidate.

    Attributes:
        blessed: it may serve.
        reasons: against it; none if it is blessed.
        facts: what the reasons are drawn from.
    """

    blessed: bool
    reasons: list[str]
    facts: dict[str, Any]


def write(directory: str, reasons: Sequence[str], facts: dict[str, Any]) -> None:
    """Blesses a candidate if there is no reason not to; replaces what was said before.

    The mark is taken away first and set last, so there is never a mark beside another one's reasons.

    Args:
        directory: to write to.
        reasons: against the candidate.
        facts: JSON-able.
    """
    for mark in (BLESSED, NOT_BLESSED):
        files.delete(f"{directory}/{mark}")
    text = json.dumps({"reasons": list(reasons), "facts": facts}, indent=1)
    files.write_text(f"{directory}/{REASON}", text + "\n")
    files.write_text(f"{directory}/{NOT_BLESSED if reasons else BLESSED}", "")


def read(directory: str) -> Blessing:
    """Reads what `write` wrote.

    Raises:
        MalTfError: not exactly one mark is there: nothing was said, `write` did not finish, or somebody changed it.
    """
    marks = [mark for mark in (BLESSED, NOT_BLESSED) if files.exists(f"{directory}/{mark}")]
    if len(marks) != 1:
        raise MalTfError(
            f"{directory}: expected either {BLESSED} or {NOT_BLESSED}, found {' and '.join(marks) or 'neither'}; run the "
            "span again"
        )
    return Blessing(marks == [BLESSED], **json.loads(files.read_text(f"{directory}/{REASON}")))
