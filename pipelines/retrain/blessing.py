"""Blessings: the files `BLESSED` or `NOT_BLESSED`, whether a candidate may serve, and `reason.json`, why."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from features.errors import MalTfError
from pipelines.core import files

BLESSED, NOT_BLESSED, REASON = "BLESSED", "NOT_BLESSED", "reason.json"


@dataclasses.dataclass(frozen=True)
class Blessing:
    """Verdict on a candidate.

    Attributes:
        blessed: whether the candidate may serve.
        reasons: reasons against it; empty if it is blessed.
        facts: measurements that the verdict is based on.
    """

    blessed: bool
    reasons: list[str]
    facts: dict[str, Any]


def write(directory: str, reasons: Sequence[str], facts: dict[str, Any]) -> None:
    """Bless a candidate if there is no reason against it. An earlier verdict is replaced.

    The mark is removed first and written last, so that a mark never goes with the reasons of another verdict.

    Args:
        directory: directory to write to.
        reasons: reasons against the candidate.
        facts: measurements that the verdict is based on, JSON-serializable.
    """
    for mark in (BLESSED, NOT_BLESSED):
        files.delete(f"{directory}/{mark}")
    text = json.dumps({"reasons": list(reasons), "facts": facts}, indent=1)
    files.write_text(f"{directory}/{REASON}", text + "\n")
    files.write_text(f"{directory}/{NOT_BLESSED if reasons else BLESSED}", "")


def read(directory: str) -> Blessing:
    """Read the blessing in a directory.

    Raises:
        MalTfError: there is not exactly one mark: no verdict was written, `write` did not finish, or the files were changed.
    """
    marks = [mark for mark in (BLESSED, NOT_BLESSED) if files.exists(f"{directory}/{mark}")]
    if len(marks) != 1:
        raise MalTfError(
            f"{directory}: expected either {BLESSED} or {NOT_BLESSED}, found {' and '.join(marks) or 'neither'}; run the "
            "span again"
        )
    return Blessing(marks == [BLESSED], **json.loads(files.read_text(f"{directory}/{REASON}")))
