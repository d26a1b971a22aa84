"""Running the label job: inputs checked, the pipeline run, report and manifest last."""

import json
import time
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from features import vocabulary
from pipelines import beam as beam_runner
from pipelines import files, manifest
from pipelines.config import RunConfig
from pipelines.labels import fits
from pipelines.labels import report as reports
from pipelines.labels.exchange import Exchange
from pipelines.labels.job import SUMMARY, LabelJob
from pipelines.sources.tables import input_files

REPORT = "label_report.json"

#: Where tables lie between two steps when the runner would hold them in memory; taken away at the end.
_EXCHANGE = "_exchange"

#: Input bytes per shard where `labels.shards` is not given.
_SHARD_BYTES = 16 << 20


def made_from(config: RunConfig) -> str:
    """Fingerprint of all that the labels depend on: inputs by path and size, and the config's parts.

    Raises:
        MalTfError: an input file is missing or empty, or an earlier run to go on from has not what is asked of it.
    """
    inputs = _inputs(config)
    parts = config.model_dump(mode="json", include={"sources", "features", "vocabulary", "attribution", "labels"})
    earlier = [_earlier_fits(config), _previous_vocabularies(config)]
    return manifest.fingerprint("labels", 2, inputs, [files.modified(path) for path, _ in inputs], parts, earlier)


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
    earlier, previous = _earlier_fits(config), _previous_vocabularies(config)
    manifest.begin(output, overwrite)
    pipeline = beam.Pipeline(options=options)
    local = beam_runner.is_local(options) and files.is_local(output)
    exchange = Exchange(FileSystems.join(output, _EXCHANGE) if local else None)
    job = _job(config, output, exchange, earlier, previous)
    _ = pipeline | "Labels" >> job
    beam_runner.run(pipeline)

    summary_path = FileSystems.join(output, SUMMARY)
    summary = json.loads(files.read_text(summary_path))
    counts = Counter({tuple(key): n for key, n in summary["counts"]})
    report = reports.build(counts, config.attribution.names)
    reports.check(report, config.labels.max_bad_share, output)
    files.write_text(FileSystems.join(output, REPORT), json.dumps(report, indent=1) + "\n")
    FileSystems.delete([summary_path])
    if local and files.exists(exchange.directory):
        FileSystems.delete([exchange.directory])
    manifest.finish(
        output,
        {
            "stage": "labels",
            "made_from": fingerprint,
            "files": summary["files"],
            "mechanisms": list(config.attribution.names),
            "source_files": job.paths,
            "rows": {table: report[table] for table in ("clicks", "conversions")},
            "seconds": {key[1]: n / 1e6 for key, n in sorted(counts.items()) if key[0] == "microseconds"},
        },
    )
    return report


def _job(config: RunConfig, output: str, exchange: Exchange, earlier, previous) -> LabelJob:
    tables = config.sources.tables()
    paths = sorted({path for t in (tables.clicks, tables.conversions) for path, _ in files.match(t.files)})
    shards = config.labels.shards or max(-(-sum(size for _, size in _inputs(config)) // _SHARD_BYTES), 1)
    return LabelJob(
        sources=tables,
        spec=config.feature_spec,
        attribution=config.attribution,
        labels=config.labels,
        shards=shards,
        output=output,
        paths=paths,
        now=int(time.time() * tables.units_per_second),
        exchange=exchange,
        earlier=earlier,
        previous=previous,
    )


def _inputs(config: RunConfig) -> list[tuple[str, int]]:
    tables = config.sources.tables()
    return sorted(set(input_files(tables.clicks) + input_files(tables.conversions)))


def _earlier_fits(config: RunConfig) -> tuple[dict[str, dict], list[str]] | None:
    directory = config.attribution.fit_from
    if directory is None:
        return None
    manifest.read(directory, "the finished label job of attribution.fit_from")
    return fits.read(directory, config.attribution)


def _previous_vocabularies(config: RunConfig) -> dict[str, list[str]]:
    """Lines of the earlier run's vocabularies; features it did not have start anew."""
    directory = config.labels.grow_from
    if directory is None:
        return {}
    manifest.read(directory, "the finished label job of labels.grow_from")
    names = [feature.name for feature in config.feature_spec.scalars]
    paths = {name: FileSystems.join(directory, "vocabulary", f"{name}.txt") for name in names}
    return {name: vocabulary.read(files.read_text(path)) for name, path in paths.items() if files.exists(path)}
