"""Last step of the label job: rows accounted for, report and manifest written, by the pipeline itself.

Nobody waits for a job that a flex template launched, so nothing that makes the output complete is left for afterwards.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.core import files, manifest
from pipelines.labels import report as reports

REPORT = "label_report.json"

#: Where the other steps write, beside the label files.
_FOLDERS = ("attribution/", "dead_letter/", "vocabulary/")


@dataclasses.dataclass(frozen=True)
class Finish:
    """Makes the output complete. May be repeated, as runners repeat what they lost the answer of.

    Attributes:
        output: directory.
        mechanisms: in configured order.
        max_bad_share: see `pipelines.labels.report.check`.
        known: the manifest's entries that were known before the job.
        exchange: local directory of the job's own, to be taken away.
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
            written: the label files.
            _others: results of all other steps that write, so that they come before this one.

        Raises:
            MalTfError: rows unaccounted for, too many bad rows, nothing to learn from.
        """
        report = reports.build(counts, self.mechanisms)
        reports.check(report, self.max_bad_share, self.output, self.tables)
        files.write_text(FileSystems.join(self.output, REPORT), json.dumps(report, indent=1) + "\n")
        if self.exchange is not None:
            shutil.rmtree(self.exchange, ignore_errors=True)
        there = sorted(files.listing(self.output).items())
        made = {
            "files": sorted(written, key=lambda file: (file["split"] != "train", file["path"])),
            "other_files": [
                {"path": path, "bytes": size} for path, size in there if path == REPORT or path.startswith(_FOLDERS)
            ],
            "rows": {table: report[table] for table in ("clicks", "conversions")},
            "seconds": {key[1]: n / 1e6 for key, n in sorted(counts.items()) if key[0] == "microseconds"},
        }
        manifest.finish(self.output, {**self.known, **made})
