"""Running the label job: inputs checked, job and statistics in one pipeline, report and manifest last."""

import json
import time
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines import beam as beam_runner
from pipelines import files, manifest
from pipelines.config import RunConfig
from pipelines.labels import report as reports
from pipelines.labels.job import SUMMARY, LabelJob
from pipelines.sources.tables import input_files
from pipelines.validation.statistics import WriteStatistics

REPORT = "label_report.json"


def made_from(config: RunConfig) -> str:
    """Fingerprint of all that the labels depend on: inputs by path and size, and the config's parts.

    Raises:
        MalTfError: an input file is missing or empty.
    """
    tables = config.sources.tables()
    inputs = sorted(set(input_files(tables.clicks) + input_files(tables.conversions)))
    parts = config.model_dump(mode="json", include={"sources", "features", "vocabulary", "attribution", "labels"})
    return manifest.fingerprint("labels", 1, inputs, [files.modified(path) for path, _ in inputs], parts)


def run(config: RunConfig, output: str, flags: Sequence[str] = (), overwrite: bool = False) -> dict:
    """Runs the label job into `output` and returns its report.

    Args:
        config: the run.
        output: fresh directory.
        flags: Beam's own flags.
        overwrite: whether a finished `output` may be replaced.

    Raises:
        MalTfError: bad flags, bad input, rows unaccounted for, output in use.
    """
    options = beam_runner.pipeline_options(flags)
    fingerprint = made_from(config)
    tables = config.sources.tables()
    paths = sorted({path for t in (tables.clicks, tables.conversions) for path, _ in files.match(t.files)})
    manifest.begin(output, overwrite)
    pipeline = beam.Pipeline(options=options)
    now = int(time.time() * tables.units_per_second)
    job = LabelJob(tables, config.feature_spec, config.attribution, config.labels, output, paths, now)
    batches = pipeline | "Labels" >> job
    _ = batches | "Statistics" >> WriteStatistics(output)
    beam_runner.run(pipeline)

    summary_path = FileSystems.join(output, SUMMARY)
    summary = json.loads(files.read_text(summary_path))
    counts = Counter({tuple(key): n for key, n in summary["counts"]})
    report = reports.build(counts, config.attribution.names)
    reports.check(report, config.labels.max_bad_share, output)
    files.write_text(FileSystems.join(output, REPORT), json.dumps(report, indent=1) + "\n")
    FileSystems.delete([summary_path])
    manifest.finish(
        output,
        {
            "stage": "labels",
            "made_from": fingerprint,
            "files": summary["files"],
            "mechanisms": list(config.attribution.names),
            "source_files": paths,
            "rows": {table: report[table] for table in ("clicks", "conversions")},
        },
    )
    return report
