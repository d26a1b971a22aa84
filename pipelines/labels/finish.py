"""Last step of the label job: accounts for all rows, writes the report and, last, the manifest.

A step of the pipeline, as a job that a flex template launched has no caller left to complete its output.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.core import files, manifest
from pipelines.labels import label_columns
from pipelines.labels import report as reports
from pipelines.labels.read_logs import raise_mixed_ids

REPORT = "label_report.json"

#: Where the other steps write, beside the label files.
_FOLDERS = ("attribution/", "dead_letter/", "vocabulary/")


@dataclasses.dataclass(frozen=True)
class Finish:
    """Makes the output complete. It may run twice: runners repeat a step whose result they lost.

    Attributes:
        output: directory.
        mechanisms: in configured order.
        max_bad_share: see `pipelines.labels.report.check`.
        known: the manifest's entries that were known before the job; `columns` lacks the click ids.
        exchange: local directory of the job's own, to be removed.
        tables: which tables it read.
    """

    output: str
    mechanisms: Sequence[str]
    max_bad_share: float
    known: Mapping[str, Any]
    exchange: str | None = None
    tables: Sequence[str] = ("clicks", "conversions")

    def __call__(self, _: None, counts: Counter, written: Sequence[dict], *_others: Sequence[None]) -> None:
        """Finishes.

        Args:
            counts: of the whole job.
            written: entries of the label files, with `click_id`, the type of their ids.
            _others: results of all other steps that write, so that they come before this one.

        Raises:
            MalTfError: rows unaccounted for, too many bad rows, nothing to learn from, ids of two types.
        """
        report = reports.build(counts, self.mechanisms)
        reports.check(report, self.max_bad_share, self.output, self.tables)
        files.write_text(FileSystems.join(self.output, REPORT), json.dumps(report, indent=1) + "\n")
        if self.exchange is not None:
            shutil.rmtree(self.exchange, ignore_errors=True)
        listing = sorted(files.listing(self.output).items())
        entries = [{key: value for key, value in file.items() if key != "click_id"} for file in written]
        counted = {
            "columns": [label_columns.click_id(id_type(written)), *self.known["columns"]],
            "files": sorted(entries, key=lambda file: (file["split"] != "train", file["path"])),
            "other_files": [
                {"path": path, "bytes": size} for path, size in listing if path == REPORT or path.startswith(_FOLDERS)
            ],
            "rows": {table: report[table] for table in ("clicks", "conversions")},
            "seconds": {key[1]: n / 1e6 for key, n in sorted(counts.items()) if key[0] == "microseconds"},
        }
        manifest.finish(self.output, {**self.known, **counted})


def id_type(written: Sequence[dict]) -> str:
    """The type of all click ids. Files without clicks have none."""
    types = {file["click_id"] for file in written if file["rows"]}
    if len(types) > 1:
        raise_mixed_ids("click_id", types)
    return next(iter(types), label_columns.STRING)
