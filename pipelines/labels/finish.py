"""The last step of the label job, which checks that all rows are accounted for and writes the report and the manifest.

It is part of the pipeline, since a job that was launched from a flex template has no caller to complete its output.
"""

import dataclasses
import json
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.core import files, manifest
from pipelines.labels import label_columns
from pipelines.labels import report as reports

REPORT = "label_report.json"

log = logging.getLogger("mal_tf.labels")

#: Directories that other steps write to, beside the label files.
_FOLDERS = ("attribution/", "dead_letter/", "vocabulary/")


@dataclasses.dataclass(frozen=True)
class Finish:
    """Completes the output directory. The step is idempotent, as runners repeat a step whose result was lost.

    Attributes:
        output: output directory of the job.
        mechanisms: names of mechanisms, in configured order.
        max_bad_share: see `pipelines.labels.report.check`.
        entries: manifest entries that do not depend on the data; `columns` lacks the click ids.
        exchange: local directory for exchange between steps, which is removed.
        tables: names of the tables that the job read.
        ends_with_events: whether the logs are taken to be complete up to their latest event.
    """

    output: str
    mechanisms: Sequence[str]
    max_bad_share: float
    entries: Mapping[str, Any]
    exchange: str | None = None
    tables: Sequence[str] = reports.TABLES
    ends_with_events: bool = False

    def __call__(self, _: None, counts: Counter, written: Sequence[dict], *_others: Sequence[None]) -> None:
        """Writes the report and the manifest.

        Args:
            counts: counts of the whole job.
            written: manifest entries of the label files, with the type of their ids as `click_id`, and as `table` that of the
                training table's file, if it is written.
            _others: results of all other steps that write files, so that these run first.

        Raises:
            MalTfError: rows are unaccounted for, too many rows are bad, or a split is empty.
        """
        report = reports.build(counts, self.mechanisms, self.tables)
        if self.ends_with_events and (warning := reports.late_events(report)):
            report["warnings"].append(warning)
        for warning in report["warnings"]:
            log.warning("%s", warning)
        reports.check(report, self.max_bad_share, self.output, self.tables)
        files.write_text(FileSystems.join(self.output, REPORT), json.dumps(report, indent=1) + "\n")
        if self.exchange is not None:
            shutil.rmtree(self.exchange, ignore_errors=True)
        others = [path for path in sorted(files.listing(self.output)) if path == REPORT or path.startswith(_FOLDERS)]
        own = ("click_id", "table")
        file_entries = [{key: value for key, value in file.items() if key not in own} for file in written]
        tables = sorted((file["table"] for file in written if "table" in file), key=lambda entry: entry["path"])
        results = {
            "columns": [label_columns.click_id(id_type(written)), *self.entries["columns"]],
            "files": sorted(file_entries, key=lambda file: (file["split"] != "train", file["path"])),
            "other_files": [*manifest.describe(self.output, others), *tables],
            "rows": {table: report[table] for table in dict.fromkeys((*reports.TABLES, *self.tables))},
            "seconds": {key[1]: n / 1e6 for key, n in sorted(counts.items()) if key[0] == "microseconds"},
        }
        manifest.finish(self.output, {**self.entries, **results})


def id_type(written: Sequence[dict]) -> str:
    """Returns the type of all click ids, which is checked to be one where the logs are read. Files without clicks are ignored."""
    return next((file["click_id"] for file in written if file["rows"]), label_columns.STRING)
